"""How much each host sends to each other host, measured and predicted side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import nan
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.geometry.counting import counted
from toolkit.geometry.drawing.palette import SEQUENTIAL
from toolkit.geometry.topology import Topology, check_topology, names_of
from toolkit.plot.figure import ABOVE, WIDTH, Figure, make
from toolkit.plot.theme import VERMILION, ThemeName, Unit, byte_unit
from toolkit.plot.wanted import check_run
from toolkit.runs.run import Run

Matrix = npt.NDArray[np.float64]

MOST_FRAMED = 16
"""Most hosts for which every cell shows its number, and links between hosts are framed."""

LETTERS = 22
"""Most letters of a host's name on an axis; fewer where several share the width."""

LETTERS_ACROSS = 72
"""Letters that fit below all cells together."""

INSET = 0.44
"""From the middle of a cell to its frame."""


def hosts(
    what: Run, topology: Topology | None = None, predicted: Run | None = None, *, theme: ThemeName = "neutral"
) -> Figure:
    """Draw how much each host sends to each other host: senders down, receivers across.

    Cells on the diagonal are messages between the ranks of one host. The others use the slow links between hosts,
    and are framed.

    Args:
        what: A run, or a rehearsal of one.
        topology: The hosts of the ranks; None: those that the run's record names, or the rehearsal's own.
        predicted: A rehearsal, to be drawn beside the run, on the same hosts.
        theme: ``"neutral"`` is readable on light and dark pages.

    Raises:
        ToolkitError: If all ranks are on one host, or nothing says which hosts they are on.

    Example:
        >>> from toolkit.geometry import ShardPlan
        >>> from toolkit.models import demo
        >>> from toolkit.planning.rehearsing.rehearse import rehearse
        >>> two = Topology(hosts=2, per_host=2)
        >>> plan = ShardPlan.over(two, {"h": 32, "w": 48})
        >>> hosts(rehearse(demo.image_vae().to("meta"), (1, 16, 32, 48), plan, topology=two)).describe()
        'predicted 3.14 MB between hosts in 236 messages, most 1.87 MB from host 1 to host 0.'
    """
    check_run(what)
    every = (what,) if predicted is None else (what, predicted)
    if predicted is not None and (what.rehearsed or not isinstance(predicted, Run) or not predicted.rehearsed):
        raise ToolkitError("predicted= takes a rehearsal, to be drawn beside a run: tk.plot.hosts(run, predicted=...).")
    if topology is not None:
        check_topology(topology)
    of = what.hosts if topology is None else topology
    names = list(dict.fromkeys(names_of(of) if isinstance(of, Topology) else of))
    if len(names) < 2:
        raise ToolkitError(
            f"all ranks of {what!r} are on one host: give topology= to see what would travel between hosts, or draw "
            "its ranks with tk.plot.communication."
        )
    panels = [("predicted" if one.rehearsed else "measured", one.host_messages(of)) for one in every]
    matrices = [_matrices(table, names) for _, table in panels]
    unit = byte_unit(max(float(amount.max()) for amount, _ in matrices))
    most = max(float(amount.max()) for amount, _ in matrices) * unit.scale or 1.0
    traces: list[dict[str, Any]] = []
    for place, (amount, messages) in enumerate(matrices):
        axes = {"xaxis": f"x{place + 1 if place else ''}", "yaxis": f"y{place + 1 if place else ''}"}
        traces.append(_heat(amount, messages, names, unit=unit, most=most, last=place == len(panels) - 1) | axes)
        if len(names) <= MOST_FRAMED:
            traces += [frame | axes for frame in _frames(len(names), named=place == 0)]
    said = [f"{word} {_say(_far(table))}" for word, table in panels]
    title = f"Between {len(names)} hosts: {', '.join(said)}"
    return make(
        traces,
        _layout(names, [word for word, _ in panels]),
        title=title,
        description=_describe(panels),
        height=_height(len(names), len(panels)),
        theme=theme,
        width=WIDTH,
        table=_table(panels),
    )


def _matrices(table: pd.DataFrame, names: Sequence[str]) -> tuple[Matrix, Matrix]:
    """Bytes and messages from each host to each other."""
    at = {name: place for place, name in enumerate(names)}
    found = []
    for column in ("bytes", "messages"):
        matrix = np.zeros((len(names), len(names)))
        matrix[table["sender"].map(at).to_numpy(int), table["receiver"].map(at).to_numpy(int)] = table[column]
        found.append(matrix)
    return found[0], found[1]


def _heat(
    amount: Matrix, messages: Matrix, names: Sequence[str], *, unit: Unit, most: float, last: bool
) -> dict[str, Any]:
    """A cell for each pair of hosts that exchanged something; the others are empty."""
    count = len(names)
    texts = [[f"{cell * unit.scale:.3g} {unit.name}" if cell else "" for cell in row] for row in amount]
    hover = [
        [
            f"{a} to {b}<br>{_say(amount[i, j])} in {counted(int(messages[i, j]), 'message')}"
            for j, b in enumerate(names)
        ]
        for i, a in enumerate(names)
    ]
    return {
        "type": "heatmap",
        "x": np.arange(count),
        "y": np.arange(count),
        "z": np.where(messages > 0, amount * unit.scale, np.nan).astype(np.float32),
        "zmin": 0,
        "zmax": most,
        "colorscale": SEQUENTIAL,
        # One colour bar for all panels, beside the last one.
        "showscale": last,
        "colorbar": {"title": {"text": unit.name}, "thickness": 16},
        "hoverongaps": False,
        "hovertext": hover,
        "hovertemplate": "%{hovertext}<extra></extra>",
        **({"text": texts, "texttemplate": "%{text}"} if count <= MOST_FRAMED else {}),
    }


def _frames(count: int, *, named: bool) -> list[dict[str, Any]]:
    """A frame in each cell between two hosts: dashes on white, which are seen on every colour of the scale."""
    corners = [(-INSET, -INSET), (INSET, -INSET), (INSET, INSET), (-INSET, INSET), (-INSET, -INSET)]
    points: list[tuple[float, float]] = []
    for i, j in product(range(count), repeat=2):
        if i != j:
            points += [*((j + x, i + y) for x, y in corners), (nan, nan)]
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "name": "slow link, between hosts",
        "hoverinfo": "skip",
    }
    return [
        line | {"line": {"color": "#FFFFFF", "width": 4}, "showlegend": False},
        line | {"line": {"color": VERMILION, "width": 2.5, "dash": "dash"}, "showlegend": named},
    ]


def _layout(names: Sequence[str], words: Sequence[str]) -> dict[str, Any]:
    count, panels = len(names), len(words)
    step = max(1, -(-count // MOST_FRAMED))
    shown = list(range(0, count, step))
    ticks = {"tickvals": shown, "showgrid": False}
    across = [_short(names[place], max(6, LETTERS_ACROSS // (panels * len(shown)))) for place in shown]
    down = [_short(names[place]) for place in shown]
    margin = {"l": 44 + round(6.2 * max(map(len, down))), "r": 96, "t": 88, "b": 52}
    layout: dict[str, Any] = {"showlegend": True, "legend": ABOVE, "margin": margin}
    for place, word in enumerate(words):
        number = place + 1 if place else ""
        domain = [place / panels + 0.06 * (place > 0), (place + 1) / panels - 0.06 * (place + 1 < panels)]
        layout[f"xaxis{number}"] = {
            **ticks,
            "ticktext": across,
            "title": {"text": f"{word}: to (host)"},
            "range": [-0.5, count - 0.5],
            "domain": domain,
            "anchor": f"y{number}",
        }
        layout[f"yaxis{number}"] = {
            **ticks,
            "ticktext": down,
            "title": {"text": "" if place else "from (host)"},
            "range": [count - 0.5, -0.5],
            "anchor": f"x{number}",
            **({"showticklabels": False} if place else {}),
        }
    return layout


def _height(count: int, panels: int) -> int:
    """Cells are about as high as they are wide, within reason."""
    return round(min(max(count * 96, 180), 1000 / (1 + panels) + 80)) + 152


def _far(table: pd.DataFrame) -> float:
    """Bytes between different hosts."""
    return float(table.loc[table["sender"] != table["receiver"], "bytes"].sum())


def _say(amount: float) -> str:
    if amount < 1000:
        return f"{amount:.0f} B"
    unit = byte_unit(amount)
    return f"{amount * unit.scale:.3g} {unit.name}"


def _short(name: str, most: int = LETTERS) -> str:
    most = min(most, LETTERS)
    return name if len(name) <= most else f"{name[: most - 2]}.."


def _describe(panels: Sequence[tuple[str, pd.DataFrame]]) -> str:
    parts = []
    for word, table in panels:
        far = table[table["sender"] != table["receiver"]]
        pairs = zip(*(far[column].tolist() for column in ("bytes", "sender", "receiver")), strict=True)
        size, sender, receiver = max(pairs, key=itemgetter(0), default=(0, "", ""))
        peak = f", most {_say(size)} from {sender} to {receiver}" if size else ""
        parts.append(
            f"{word} {_say(_far(table))} between hosts in {counted(int(far['messages'].sum()), 'message')}{peak}"
        )
    return f"{'; '.join(parts)}."


def _table(panels: Sequence[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """One row per pair of hosts, with the columns of every panel."""
    named = [table.set_index(["sender", "receiver"]).add_prefix(f"{word} ") for word, table in panels]
    joined = pd.concat(named, axis=1).fillna(0).astype(int).reset_index()
    return joined.rename(columns={"sender": "from host", "receiver": "to host"})
