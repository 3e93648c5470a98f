"""A sweep in parallel coordinates: one line per configuration, failed ones included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.geometry.counting import counted
from toolkit.plot.figure import Figure, make
from toolkit.plot.sweep_axis import Axis
from toolkit.plot.sweep_lines import LANE, LineColours, SweepLines, positions
from toolkit.plot.sweep_table import HIGHER_IS_BETTER, SweepTable, numbers, numeric, said
from toolkit.plot.theme import ThemeName
from toolkit.plot.wanted import check_frame

MAX_AXES = 14


def sweep(
    table: pd.DataFrame,
    *,
    parameters: Sequence[str] | None = None,
    measures: Sequence[str] | None = None,
    objective: str | None = None,
    theme: ThemeName = "neutral",
) -> Figure:
    """Draw every row of a sweep as a line across vertical axes, one per parameter and measure.

    The colour of a line shows its objective. Lines of failed rows are dotted and turn down before the axes of measures.
    Hovering over a mark on a line shows the whole configuration; marks are on every axis if there are few rows, and
    only on the objective's axis if there are many.

    Args:
        table: The result of :func:`toolkit.sweep`, or any table with one row per configuration.
        parameters: Columns that were chosen, in order; by default those of the sweep.
        measures: Columns that were measured, in order; by default those of the sweep that contain numbers and vary.
        objective: The measure that colours the lines; by default the search's own, else the first.
        theme: ``"neutral"`` is readable on light and dark pages.

    Raises:
        ToolkitError: If a column is missing, nothing was measured, or there are too many axes to read.

    Example:
        >>> table = pd.DataFrame({"tile": [8, 16, 32], "psnr": [28.0, 34.0, 41.0]})
        >>> sweep(table, parameters=["tile"], measures=["psnr"]).describe()
        '3 configurations over tile: 3 done; psnr 28 dB (tile 8) to psnr 41 dB (tile 32).'
    """
    check_frame(table)
    read = SweepTable.read(table, parameters, measures=measures)
    target = objective or first_objective(read)
    values = np.where(read.done, numbers(table, target), np.nan)
    shown = [name for name in read.measures if measures is not None or name == target or varies(table, name)]
    if target not in shown:
        shown.append(target)
    order = pd.Series(values).rank(method="first", pct=True).fillna(0.0).to_numpy()
    axes = [_ladder(name, table[name], order=order) for name in read.parameters]
    drawn = [name for name in shown if numeric(table[name])]
    axes += [Axis.scale(name, table[name].where(read.done)) for name in drawn]
    if len(axes) > MAX_AXES:
        raise ToolkitError(
            f"{len(axes)} axes are too many to read; choose at most {MAX_AXES} columns with parameters= and measures=."
        )
    aimed = axes[len(read.parameters) + drawn.index(target)]
    colours = LineColours(aimed, rising(read, target))
    across = SweepLines(read, axes, target=aimed)
    return make(
        [*across.lines(colours), *across.marks(colours), *across.failed()],
        _layout(axes, read),
        title=f"{counted(len(table), 'configuration')}: {read.outcome}; coloured by {aimed.title}",
        description=_describe(read, target, values=values),
        height=460,
        theme=theme,
        table=table[[*read.parameters, *shown, *(["status"] if "status" in table.columns else [])]],
    )


def first_objective(read: SweepTable) -> str:
    """The search's own objective, else the first measure that varies."""
    known = [name for name in read.rows.attrs.get("sweep", {}).get("objectives", {}) if name in read.measures]
    varying = [name for name in read.measures if varies(read.rows, name)]
    found = [*known, *varying, *(name for name in read.measures if read.rows[name].notna().any())]
    if not found:
        raise ToolkitError("no row has a measure, because every point failed: see the column 'error'.")
    return found[0]


def rising(read: SweepTable, name: str) -> bool:
    """Whether more of a measure is better."""
    way = read.rows.attrs.get("sweep", {}).get("objectives", {}).get(name)
    return name in HIGHER_IS_BETTER if way is None else way == "maximize"


def varies(table: pd.DataFrame, name: str) -> bool:
    """Whether a column contains different numbers."""
    return numeric(table[name]) and table[name].nunique() > 1


def _ladder(name: str, column: pd.Series, *, order: np.ndarray) -> Axis:
    return Axis.ladder(name, column).spread(order)


def _layout(axes: Sequence[Axis], read: SweepTable) -> dict[str, Any]:
    upright = {"type": "line", "y0": 0, "y1": 1, "line": {"color": "rgba(127,127,127,0.7)", "width": 1.2}}
    x = positions(axes).tolist()
    notes = [_label(at - 1.2, place, text=text) for at, axis in zip(x, axes, strict=True) for place, text in axis.ticks]
    if read.failures:
        notes.append(_label(x[len(read.parameters)] - 0.9, LANE, text="no measures"))
    return {
        "xaxis": {
            "title": {"text": "parameters, then measures, each from its lowest value to its highest (units above)"},
            "tickvals": x,
            "ticktext": [axis.title for axis in axes],
            "range": [x[0] - axes[0].letters - 4, x[-1] + 6],
            "showgrid": False,
            "side": "bottom",
        },
        "yaxis": {"range": [LANE - 0.06, 1.06], "showgrid": False, "showticklabels": False},
        "shapes": [{**upright, "x0": at, "x1": at} for at in x],
        "annotations": notes,
        "showlegend": bool(read.failures),
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom"},
        "margin": {"l": 24, "r": 24, "t": 76 if read.failures else 56, "b": 64},
    }


def _label(x: float, y: float, *, text: str) -> dict[str, Any]:
    where = {"x": x, "y": y, "xanchor": "right", "yanchor": "middle", "showarrow": False}
    return {**where, "text": text, "font": {"size": 10}}


def _describe(read: SweepTable, target: str, *, values: np.ndarray) -> str:
    start = f"{counted(len(read.rows), 'configuration')} over {', '.join(read.parameters)}: {read.outcome}"
    ends = [int(np.nanargmin(values)), int(np.nanargmax(values))]
    low, high = (f"{said(target, float(values[at]))} ({read.configuration(at)})" for at in ends)
    return f"{start}; {low} to {high}."
