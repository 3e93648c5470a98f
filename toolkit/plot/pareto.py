"""Time against memory against quality: the configurations that no other configuration beats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.geometry.counting import counted
from toolkit.plot.figure import Figure, make, nothing
from toolkit.plot.pareto_marks import GREY, SHAPES, Marks
from toolkit.plot.sweep_table import HIGHER_IS_BETTER, SweepTable, brief, check_column, numbers, quantity, said
from toolkit.plot.theme import ThemeName
from toolkit.plot.wanted import check_frame

LISTED = 6


def pareto(
    table: pd.DataFrame,
    x: str = "seconds",
    y: str = "peak bytes",
    colour: str | None = None,
    *,
    shape: str | None = None,
    maximise: Sequence[str] = HIGHER_IS_BETTER,
    parameters: Sequence[str] | None = None,
    theme: ThemeName = "neutral",
) -> Figure:
    """Draw every row of a sweep by three measures, and highlight the rows that no other row beats.

    A row is beaten if another row is at least as good in every drawn measure and better in one. Unbeaten rows are
    large; the others are small and faint. The line is the front by ``x`` and ``y`` alone. Failed rows are drawn in a
    lane above the data.

    Args:
        table: The result of :func:`toolkit.sweep`, or any table with one row per configuration.
        x: The measure along x.
        y: The measure along y.
        colour: The measure for the colour; by default ``psnr`` or ``max_abs`` if the table has one of them.
        shape: The column for the shape of a mark, with at most five different values.
        maximise: Measures of which more is better; of all others, less is better.
        parameters: Columns that make up a configuration; by default those of the sweep.
        theme: ``"neutral"`` is readable on light and dark pages.

    Raises:
        ToolkitError: If a column is missing or contains no numbers, or there are too many shapes.

    Example:
        >>> table = pd.DataFrame({"tile": [8, 16, 24], "seconds": [3.0, 2.0, 2.5], "peak bytes": [1e8, 2e8, 4e8]})
        >>> pareto(table, parameters=["tile"]).describe()
        '3 configurations by time and peak: 3 done; 2 unbeaten: time 2 s, peak 200 MB (tile 16); time 3 s,
        peak 100 MB (tile 8).'
    """
    check_frame(table)
    colour = colour or next((name for name in ("psnr", "max_abs") if name in table.columns), None)
    drawn = [x, y] + ([colour] if colour else [])
    read = SweepTable.read(table, parameters, measures=drawn)
    values = np.column_stack([np.where(read.done, numbers(table, name), np.nan) for name in drawn])
    costs = values * [-1 if name in maximise else 1 for name in drawn]
    units = [quantity(name, values[:, i]) for i, name in enumerate(drawn)]
    scaled = values * [unit.scale for unit in units]
    front = unbeaten(costs)
    marks = Marks(read, scaled, front=front, groups=_groups(table, shape))
    traces = [*_line(scaled, costs), *marks.traces(units[2].title if colour else None), *marks.failed()]
    best = np.flatnonzero(front)
    layout = {
        "xaxis": marks.across.layout(units[0].title),
        "yaxis": marks.up.layout(units[1].title, lane=bool(read.failures)),
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom"},
        "margin": {"l": 64, "r": 24, "t": 80, "b": 52},
    }
    if not len(best):
        layout["annotations"] = [nothing("no row has all these measures")]
    return make(
        traces,
        layout,
        title=f"{counted(len(best), 'configuration')} of {len(table)} that no other beats in "
        f"{', '.join(unit.title.partition(' (')[0] for unit in units)}",
        description=_describe(read, drawn, values=values, best=best),
        height=460,
        theme=theme,
        table=table[[*read.parameters, *drawn]].assign(unbeaten=front, status=read.status),
    )


def unbeaten(costs: np.ndarray) -> np.ndarray:
    """Which rows no other row beats by being as low in every column and lower in one. Rows with NaN never count.

    Example:
        >>> unbeaten(np.array([[1.0, 3.0], [2.0, 2.0], [2.0, 3.0], [2.0, 2.0], [np.nan, 0.0]])).tolist()
        [True, True, False, True, False]
    """
    known = ~np.isnan(costs).any(axis=1)
    found = known.copy()
    for row in np.flatnonzero(known):
        other = costs[known]
        found[row] = not ((other <= costs[row]).all(axis=1) & (other < costs[row]).any(axis=1)).any()
    return found


def _groups(table: pd.DataFrame, shape: str | None) -> pd.Series | None:
    if shape is None:
        return None
    check_column(table, shape)
    groups = table[shape].map(lambda value: f"{shape} {brief(value)}")
    if groups.nunique() > len(SHAPES):
        raise ToolkitError(
            f"shape={shape!r}: this column has {groups.nunique()} different values, but there are only {len(SHAPES)} "
            "shapes. Choose another column."
        )
    return groups


def _line(scaled: np.ndarray, costs: np.ndarray) -> Iterator[dict[str, Any]]:
    """The front by the first two columns, drawn as a stair because nothing between two rows was measured."""
    rows = np.flatnonzero(unbeaten(costs[:, :2]))
    if len(rows) > 1:
        rows = rows[np.argsort(scaled[rows, 0], kind="stable")]
        yield {
            "type": "scatter",
            "mode": "lines",
            "x": scaled[rows, 0].astype(np.float32),
            "y": scaled[rows, 1].astype(np.float32),
            "line": {"shape": "hv", "color": GREY, "width": 1.2, "dash": "dash"},
            "hoverinfo": "skip",
            "name": "front by x and y",
            "showlegend": True,
        }


def _describe(read: SweepTable, drawn: Sequence[str], *, values: np.ndarray, best: np.ndarray) -> str:
    names = " and ".join(quantity(name).title.partition(" (")[0] for name in drawn)
    start = f"{counted(len(read.rows), 'configuration')} by {names}: {read.outcome}; {len(best)} unbeaten"
    rows = sorted(best, key=lambda row: tuple(values[row]))[:LISTED]
    listed = [
        ", ".join(said(name, float(value)) for name, value in zip(drawn, values[row], strict=True))
        + f" ({read.configuration(row)})"
        for row in rows
    ]
    more = f"; and {len(best) - LISTED} more" if len(best) > LISTED else ""
    return f"{start}: {'; '.join(listed)}{more}." if listed else f"{start}."
