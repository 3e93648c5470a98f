"""How much each rank sends to each other rank."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.geometry.checks import check_counts
from toolkit.geometry.counting import counted
from toolkit.geometry.drawing.palette import SEQUENTIAL
from toolkit.geometry.plan import Plan
from toolkit.plot.figure import WIDTH, Figure, make
from toolkit.plot.theme import ThemeName, Unit, byte_unit
from toolkit.plot.wanted import check_run
from toolkit.runs.run import Run
from toolkit.runs.run_tables import sent_table

Matrix = npt.NDArray[np.float64]
MOST_TEXTS = 16
"""Most ranks for which every cell shows its number."""

CELLS = Unit(1.0, "latent cells")


def communication(
    what: Run | pd.DataFrame | Plan, cell_bytes: int | None = None, *, theme: ThemeName = "neutral"
) -> Figure:
    """Draw how much each rank sends to each other rank: senders down, receivers across.

    Args:
        what: A run or its trace, to draw what was sent; or a plan of tiles, to draw what will be sent (edges, and the
            result).
        cell_bytes: For a plan, bytes of sample per latent cell (``8 * 8 * 3 * 4`` for an 8x fp32 RGB decoder); without
            it, latent cells are drawn.
        theme: ``"neutral"`` is readable on light and dark pages.

    Raises:
        ToolkitError: If the trace does not say who receives, ``cell_bytes`` is given with a run, or the plan's messages
            depend on the model.

    Example:
        >>> from toolkit.geometry import Assignment, Blend, TileGrid, TilePlan
        >>> grid = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)
        >>> plan = TilePlan(grid, Blend.linear(), Assignment.contiguous(grid, ranks=3))
        >>> communication(plan).describe()
        '3 ranks will send 6776 latent cells in 22 messages: most, 2704 latent cells, from rank 2 to rank 0.'
    """
    planned = isinstance(what, Plan)
    if not planned:
        check_run(what, trace=True)
    table, unit = _predicted(what, cell_bytes) if isinstance(what, Plan) else _measured(what, cell_bytes)
    size = table.attrs["ranks"]
    amount, messages = (_matrix(table, column, ranks=size) for column in ("amount", "messages"))
    total, most = float(amount.sum()), np.unravel_index(int(amount.argmax()), amount.shape)
    verb = "will send" if planned else "sent"
    head = f"{counted(size, 'rank')} {verb} {_say(total, unit)} in {counted(int(messages.sum()), 'message')}"
    peak = f": most, {_say(float(amount[most]), unit)}, from rank {most[0]} to rank {most[1]}" if total else ""
    return make(
        [_heat(amount, messages, unit=unit)],
        _layout(size),
        title=head,
        description=f"{head}{peak}.",
        height=min(max(size * 56, 200), 620) + 130,
        theme=theme,
        width=WIDTH,
        table=_named(table, unit),
    )


def _measured(what: Run | pd.DataFrame, cell_bytes: int | None) -> tuple[pd.DataFrame, Unit]:
    if cell_bytes is not None:
        raise ToolkitError(f"cell_bytes={cell_bytes}: the bytes of a run are measured, so leave cell_bytes out.")
    trace = what.trace if isinstance(what, Run) else what
    columns = {"sender": "rank", "receiver": "peer", "bytes": "amount"}
    table = sent_table(trace).rename(columns=columns)
    highest = int(max([*trace["rank"], *trace["peer"]], default=0))
    table.attrs["ranks"] = max(highest + 1, what.way.ranks if isinstance(what, Run) else 0)
    return table, byte_unit(float(table["amount"].max()) if len(table) else 0.0)


def _predicted(plan: Plan, cell_bytes: int | None) -> tuple[pd.DataFrame, Unit]:
    if cell_bytes is not None:
        check_counts(cell_bytes=cell_bytes)
    if plan.planned_messages is None:
        raise ToolkitError(f"the messages of {plan.summary} depend on the model: draw a run of this plan instead.")
    rows = [(sender, receiver, 1, cells) for sender, receiver, cells in plan.planned_messages]
    table = pd.DataFrame(rows, columns=["rank", "peer", "messages", "amount"])
    table = table.groupby(["rank", "peer"], as_index=False).sum()
    table = table.assign(amount=table["amount"] * (cell_bytes or 1))
    table.attrs["ranks"] = plan.ranks
    return table, CELLS if cell_bytes is None else byte_unit(float(table["amount"].max()) if len(table) else 0.0)


def _matrix(table: pd.DataFrame, column: str, *, ranks: int) -> Matrix:
    matrix = np.zeros((ranks, ranks))
    matrix[table["rank"].to_numpy(int), table["peer"].to_numpy(int)] = table[column]
    return matrix


def _heat(amount: Matrix, messages: Matrix, *, unit: Unit) -> dict[str, Any]:
    """A cell for each pair of ranks that exchanged something; the others are empty."""
    ranks, scaled = len(amount), amount * unit.scale
    texts = [[_number(cell, unit) if cell else "" for cell in row] for row in amount]
    return {
        "type": "heatmap",
        "x": np.arange(ranks),
        "y": np.arange(ranks),
        "z": np.where(messages > 0, scaled, np.nan).astype(np.float32),
        "customdata": messages.astype(np.int32),
        "zmin": 0,
        "zmax": float(scaled.max()) or 1.0,
        "colorscale": SEQUENTIAL,
        "colorbar": {"title": {"text": unit.name}, "thickness": 16},
        "xgap": 1 if ranks <= MOST_TEXTS else 0,
        "ygap": 1 if ranks <= MOST_TEXTS else 0,
        "hoverongaps": False,
        **({"text": texts, "texttemplate": "%{text}"} if ranks <= MOST_TEXTS else {}),
        "hovertemplate": f"rank %{{y}} to rank %{{x}}<br>%{{z:.4~g}} {unit.name} in %{{customdata}} messages"
        "<extra></extra>",
    }


def _layout(ranks: int) -> dict[str, Any]:
    step = max(1, -(-ranks // MOST_TEXTS))
    ticks = {"tickvals": list(range(0, ranks, step)), "showgrid": False, "constrain": "domain"}
    return {
        "xaxis": {**ticks, "title": {"text": "to (rank)"}, "range": [-0.5, ranks - 0.5]},
        "yaxis": {**ticks, "title": {"text": "from (rank)"}, "range": [ranks - 0.5, -0.5], "scaleanchor": "x"},
    }


def _number(amount: float, unit: Unit) -> str:
    return f"{amount * unit.scale:.0f}" if unit is CELLS else f"{amount * unit.scale:.3g}"


def _say(amount: float, unit: Unit) -> str:
    own = unit if unit is CELLS else byte_unit(amount)
    return f"{_number(amount, own)} {own.name}"


def _named(table: pd.DataFrame, unit: Unit) -> pd.DataFrame:
    amount = "latent cells" if unit is CELLS else "bytes"
    return table.rename(columns={"rank": "from rank", "peer": "to rank", "amount": amount})
