"""Peak memory, rehearsed and measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.geometry.counting import counted
from toolkit.geometry.drawing.palette import rank_colour
from toolkit.geometry.plan import PlanKind
from toolkit.plot.bars import filled
from toolkit.plot.figure import ABOVE, Figure, make
from toolkit.plot.theme import BLUE, ThemeName, Unit, byte_unit
from toolkit.plot.wanted import check_run
from toolkit.runs.run import Run

MARK = "#8A8A8A"
MOST_LABELS = 12


def peak_memory(
    runs: Run | Sequence[Run], rehearsed: Run | Sequence[Run] | None = None, *, theme: ThemeName = "neutral"
) -> Figure:
    """Draw measured peak memory and its prediction: for each rank of one run, or the highest rank of each of several.

    Both exclude what was allocated before the run, such as weights.

    Args:
        runs: A run, or several in the order in which to draw them.
        rehearsed: The rehearsal of each run, from :func:`toolkit.rehearse`: a mark says what it predicts.
        theme: ``"neutral"`` is readable on light and dark pages.

    Raises:
        ToolkitError: If there are no runs, the memory of one was not measured, or the rehearsals are of other plans.
    """
    every = list(runs) if isinstance(runs, Sequence) else [runs]
    predicted = list(rehearsed) if isinstance(rehearsed, Sequence) else [rehearsed] * len(every)
    for run in every:
        check_run(run)
    unmeasured = [run for run in every if run.peaks.empty]
    if not every or unmeasured:
        what = repr(unmeasured[0]) if unmeasured else "no runs"
        raise ToolkitError(f"{what}: there is no measured peak to draw; run with memory=True (the default).")
    _check_same(every, predicted)
    several = not isinstance(runs, Run)
    tables = [_peaks(run, one) for run, one in zip(every, predicted, strict=True)]
    table = pd.concat(tables, keys=range(len(every)), names=["run"]).reset_index("run").reset_index(drop=True)
    table["label"] = [_label(every[place]) for place in table["run"]]
    drawn = table.loc[table.groupby("run")["measured"].idxmax()] if several else table
    unit = byte_unit(float(np.nanmax(drawn[["measured", "predicted"]].to_numpy())))
    highest = drawn.nlargest(1, "measured").iloc[0]
    head = _head(highest, unit, several=len(every) if several else 0)
    return make(
        [_bars(drawn, unit, several=several), *_marks(drawn, unit)],
        _layout(drawn, unit, several=several),
        title=head,
        description=f"{head}.",
        height=420,
        theme=theme,
        table=table.rename(columns={"measured": "measured (bytes)", "predicted": "predicted (bytes)"}),
    )


def _check_same(runs: Sequence[Run], rehearsed: Sequence[Run | None]) -> None:
    """Refuse rehearsals of other plans than the runs'."""
    plans, predicted = [run.way for run in runs], [one.way for one in rehearsed if one is not None]
    if predicted and predicted != plans:
        raise ToolkitError(
            f"rehearsals of {predicted} beside runs of {plans}: give the rehearsal of each run, in the same order."
        )


def _peaks(run: Run, rehearsed: Run | None) -> pd.DataFrame:
    """One row per measured rank, with NaN where nothing is predicted."""
    predicted = np.full(len(run.peaks), np.nan) if rehearsed is None else rehearsed.peaks[run.peaks.index]
    columns = {"rank": run.peaks.index.astype(int), "measured": run.peaks, "predicted": predicted}
    return pd.DataFrame({name: np.asarray(column) for name, column in columns.items()}).astype(
        {"measured": float, "predicted": float}
    )


def _label(run: Run) -> str:
    if run.way.kind is PlanKind.WHOLE:
        return str(run.way.kind)
    if run.way.seam_grid is None:
        return run.way.summary
    sizes = " x ".join(str(max(map(len, row))) for row in run.way.seam_grid.rows)
    return f"tile {sizes}<br>{counted(run.way.ranks, 'rank')}"


def _head(highest: pd.Series, unit: Unit, *, several: int) -> str:
    where = f"{several} runs" if several else "each rank"
    who = f"rank {highest['rank']}" + (f" of {highest['label'].replace('<br>', ', ')}" if several else "")
    bound = f", rehearsed {highest['predicted'] * unit.scale:.3g} {unit.name}" if pd.notna(highest["predicted"]) else ""
    return f"Peak memory of {where}: highest {highest['measured'] * unit.scale:.3g} {unit.name}{bound}, on {who}"


def _bars(drawn: pd.DataFrame, unit: Unit, *, several: bool) -> dict[str, Any]:
    heights = (drawn["measured"] * unit.scale).to_numpy(np.float32)
    colours = [BLUE if several else rank_colour(rank) for rank in drawn["rank"]]
    return {
        "type": "bar",
        "name": "measured",
        "x": np.arange(len(drawn)),
        "y": heights,
        "base": [0.0] * len(drawn),
        "width": 0.7,
        "showlegend": several,
        "customdata": heights,
        "marker": filled(BLUE) | {"color": colours if len(set(colours)) > 1 else colours[0]},
        "hovertext": [_hover(row, unit) for row in drawn.to_dict("records")],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }


def _hover(row: dict[Any, Any], unit: Unit) -> str:
    lines = [f"<b>{row['label']}</b>", f"rank {row['rank']}: {row['measured'] * unit.scale:.4g} {unit.name}"]
    if pd.notna(row["predicted"]):
        lines.append(
            f"rehearsed {row['predicted'] * unit.scale:.4g} {unit.name}, "
            f"{row['predicted'] / row['measured']:.2f} times the measured peak"
        )
    return "<br>".join(lines)


def _marks(drawn: pd.DataFrame, unit: Unit) -> list[dict[str, Any]]:
    if drawn["predicted"].isna().all():
        return []
    mark = {"color": MARK, "size": 12, "symbol": "diamond"}
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "rehearsed",
            "x": np.arange(len(drawn)),
            "y": (drawn["predicted"] * unit.scale).to_numpy(np.float32),
            "marker": mark,
            "hovertemplate": f"rehearsed %{{y:.4~g}} {unit.name}<extra></extra>",
        }
    ]


def _layout(drawn: pd.DataFrame, unit: Unit, *, several: bool) -> dict[str, Any]:
    step = max(1, -(-len(drawn) // MOST_LABELS))
    names = drawn["label"] if several else [f"{rank}" for rank in drawn["rank"]]
    return {
        "xaxis": {
            "title": {"text": "run" if several else "rank"},
            "tickvals": list(range(0, len(drawn), step)),
            "ticktext": list(names)[::step],
            "range": [-0.6, len(drawn) - 0.4],
            "showgrid": False,
        },
        "yaxis": {"title": {"text": f"peak without weights ({unit.name})"}, "rangemode": "tozero"},
        "showlegend": True,
        "legend": ABOVE,
        "margin": {"l": 64, "r": 24, "t": 84, "b": 64},
    }
