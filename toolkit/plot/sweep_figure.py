"""A sweep in parallel coordinates: one line per configuration, failed ones too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from plotly.colors import sample_colorscale

from toolkit.errors import ToolkitError
from toolkit.geometry.counting import counted
from toolkit.geometry.drawing.palette import SEQUENTIAL
from toolkit.plot.figure import Figure, make
from toolkit.plot.sweep_axis import Axis
from toolkit.plot.sweep_table import HIGHER_IS_BETTER, SweepTable, numbers, numeric, said
from toolkit.plot.theme import ThemeName

LEVELS = 12
"""Colours that the objective is told by."""
LANE = -0.14
"""Where the lines of failed rows end, below the axes of what was measured."""
MAX_AXES = 14
GREY = "#8C8C8C"


def sweep(
    table: pd.DataFrame,
    *,
    parameters: Sequence[str] | None = None,
    measures: Sequence[str] | None = None,
    objective: str | None = None,
    theme: ThemeName = "neutral",
) -> Figure:
    """Draw every row of a sweep as a line across one upright axis per parameter and measure.

    The colour of a line is its objective. Lines of failed rows are dotted and leave the axes below what was measured.
    The pointer on a line's mark shows the whole configuration: on every axis where the rows are few, on the
    objective's alone where they are many.

    Args:
        table: what :func:`toolkit.sweep` gave, or any table with a row for each configuration.
        parameters: columns that were chosen, in order; those of the sweep where None.
        measures: columns that were measured, in order; those of the sweep that hold numbers and vary where None.
        objective: the measure that colours the lines; the search's own, else the first where None.
        theme: ``"neutral"`` reads on light and dark pages.

    Raises:
        ToolkitError: where a column is missing, nothing was measured, or the axes are too many to read.

    Example:
        >>> table = pd.DataFrame({"tile": [8, 16, 32], "psnr": [28.0, 34.0, 41.0]})
        >>> sweep(table, parameters=["tile"], measures=["psnr"]).describe()
        '3 configurations over tile: 3 done; psnr 28 dB (tile 8) to psnr 41 dB (tile 32).'
    """
    read = SweepTable.read(table, parameters, measures)
    target = objective or first_objective(read)
    values = np.where(read.done, numbers(table, target), np.nan)
    shown = [name for name in read.measures if measures is not None or name == target or varies(table, name)]
    if target not in shown:
        shown.append(target)
    order = pd.Series(values).rank(method="first", pct=True).fillna(0.0).to_numpy()
    axes = [_ladder(name, table[name], order) for name in read.parameters]
    drawn = [name for name in shown if numeric(table[name])]
    axes += [Axis.scale(name, table[name].where(read.done)) for name in drawn]
    if len(axes) > MAX_AXES:
        raise ToolkitError(f"{len(axes)} axes: more than {MAX_AXES} cannot be read; give parameters= and measures=.")
    aimed = axes[len(read.parameters) + drawn.index(target)]
    colours = _Colours(aimed, rising(read, target))
    across = _Across(read, axes, aimed)
    return make(
        [*across.lines(colours), *across.marks(colours), *across.failed()],
        _layout(axes, read),
        title=f"{counted(len(table), 'configuration')}: {read.outcome}; coloured by {aimed.title}",
        description=_describe(read, target, values),
        height=460,
        theme=theme,
        table=table[[*read.parameters, *shown, *(["status"] if "status" in table.columns else [])]],
    )


class _Colours:
    """The places on the objective's axis as a few colours, so that many lines make few traces."""

    def __init__(self, axis: Axis, rising: bool) -> None:
        self.axis = axis
        self.level = np.minimum(np.nan_to_num(axis.places * LEVELS, nan=-1.0).astype(int), LEVELS - 1)
        # The best are drawn last, over the others.
        self.order = [-1, *(range(LEVELS) if rising else reversed(range(LEVELS)))]
        self.palette = sample_colorscale(SEQUENTIAL, [(i + 0.5) / LEVELS for i in range(LEVELS)])

    @property
    def marker(self) -> dict[str, Any]:
        """The colour bar."""
        places, texts = zip(*self.axis.ticks, strict=True)
        bar = {"title": {"text": self.axis.title}, "thickness": 16, "tickvals": places, "ticktext": texts}
        return {"colorscale": SEQUENTIAL, "cmin": 0.0, "cmax": 1.0, "colorbar": bar, "showscale": True}


class _Across:
    """Rows as lines over the axes."""

    def __init__(self, read: SweepTable, axes: Sequence[Axis], target: Axis) -> None:
        self.read = read
        self.places = np.stack([axis.places for axis in axes], axis=1)
        self.target = next(i for i, axis in enumerate(axes) if axis is target)
        self.x = positions(axes)

    def lines(self, colours: _Colours) -> Iterator[dict[str, Any]]:
        """One trace for all rows of a colour."""
        fine = self.read.done
        opacity = float(np.clip(80 / max(1, fine.sum()), 0.12, 0.9))
        for level in colours.order:
            chosen = np.flatnonzero(fine & (colours.level == level))
            if len(chosen):
                colour = colours.palette[level] if level >= 0 else GREY
                yield _trace(*self._strokes(chosen), {"color": colour, "width": 1.6}, opacity=opacity)

    def marks(self, colours: _Colours) -> Iterator[dict[str, Any]]:
        """Where the pointer finds a row, and the colour bar."""
        rows = np.flatnonzero(self.read.done & ~np.isnan(colours.axis.places))
        hovers = self.read.hovers(rows)
        axes = np.arange(self.places.shape[1])
        # The same text on each axis, where that is not too much of it.
        few = sum(map(len, hovers)) * len(axes) < 100_000
        over = axes if few else axes[self.target : self.target + 1]
        marker = {"color": np.repeat(colours.axis.places[rows], len(over)).astype(np.float32), "size": 6}
        yield {
            "type": "scatter",
            "mode": "markers",
            "x": np.tile(self.x[over], len(rows)),
            "y": self.places[np.ix_(rows, over)].ravel().astype(np.float32),
            "marker": marker | colours.marker,
            "hovertext": [text for text in hovers for _ in over],
            "hoverinfo": "text",
            "showlegend": False,
        }

    def _strokes(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lines over all axes: two bytes for an axis, since there are many."""
        return np.tile(np.append(self.x, self.x[-1]), len(rows)), _gaps(self.places[rows])

    def failed(self) -> Iterator[dict[str, Any]]:
        """Dotted lines that end in a lane below, side by side; one trace for each way to fail."""
        first, every = len(self.read.parameters), np.flatnonzero(~self.read.done)
        start, room = float(self.x[first]), float(self.x[-1] - self.x[first]) or 8.0
        ends = start + np.arange(len(every)) * min(2.0, room / max(1, len(every)))
        for order, status in enumerate(self.read.failures):
            chosen = np.asarray(self.read.status.astype(str))[every] == status
            x, rows = ends[chosen], every[chosen]
            across = np.tile(self.x[:first], (len(rows), 1))
            lane = np.full(len(rows), LANE)
            places = np.column_stack([self.places[rows, :first], lane])
            line = {"color": GREY, "width": 1.2, "dash": "dot"}
            opacity = float(np.clip(20 / len(every), 0.2, 0.9))
            yield _trace(_gaps(np.column_stack([across, x])), _gaps(places), line, name=status, opacity=opacity)
            yield {
                "type": "scatter",
                "mode": "markers",
                "x": x.astype(np.float32),
                "y": lane.astype(np.float32),
                "marker": {"symbol": ("x", "diamond")[order % 2], "size": 8, "color": GREY},
                "hovertext": self.read.hovers(rows),
                "hoverinfo": "text",
                "showlegend": False,
            }


def _gaps(rows: np.ndarray) -> np.ndarray:
    """Lines one after the other, with a gap after each."""
    return np.column_stack([rows, np.full(len(rows), np.nan)]).ravel().astype(np.float32)


def _trace(x: np.ndarray, y: np.ndarray, line: dict[str, Any], name: str = "", opacity: float = 1.0) -> dict[str, Any]:
    common = {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": line, "hoverinfo": "skip"}
    return common | {"opacity": opacity, "name": name, "showlegend": bool(name)}


def first_objective(read: SweepTable) -> str:
    """The search's own objective, else the first measure that holds different numbers."""
    known = [name for name in read.rows.attrs.get("sweep", {}).get("objectives", {}) if name in read.measures]
    varying = [name for name in read.measures if varies(read.rows, name)]
    found = [*known, *varying, *(name for name in read.measures if read.rows[name].notna().any())]
    if not found:
        raise ToolkitError("no row has a measure: every point failed; look at the column 'error'.")
    return found[0]


def rising(read: SweepTable, name: str) -> bool:
    """Whether more of a measure is better."""
    way = read.rows.attrs.get("sweep", {}).get("objectives", {}).get(name)
    return name in HIGHER_IS_BETTER if way is None else way == "maximize"


def varies(table: pd.DataFrame, name: str) -> bool:
    """Whether a column holds different numbers."""
    return numeric(table[name]) and table[name].nunique() > 1


def positions(axes: Sequence[Axis]) -> np.ndarray:
    """Where each axis stands, in letters: its own ticks and half of both titles need room to its left."""
    x = [0.0]
    for left, right in pairwise(axes):
        x.append(x[-1] + max(right.letters + 6, (len(left.title) + len(right.title)) / 2 + 3))
    return np.rint(x).astype(np.int16)


def _ladder(name: str, column: pd.Series, order: np.ndarray) -> Axis:
    return Axis.ladder(name, column).spread(order)


def _layout(axes: Sequence[Axis], read: SweepTable) -> dict[str, Any]:
    upright = {"type": "line", "y0": 0, "y1": 1, "line": {"color": "rgba(127,127,127,0.7)", "width": 1.2}}
    x = positions(axes).tolist()
    notes = [_label(at - 1.2, place, text) for at, axis in zip(x, axes, strict=True) for place, text in axis.ticks]
    if read.failures:
        notes.append(_label(x[len(read.parameters)] - 0.9, LANE, "no measures"))
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


def _label(x: float, y: float, text: str) -> dict[str, Any]:
    where = {"x": x, "y": y, "xanchor": "right", "yanchor": "middle", "showarrow": False}
    return {**where, "text": text, "font": {"size": 10}}


def _describe(read: SweepTable, target: str, values: np.ndarray) -> str:
    start = f"{counted(len(read.rows), 'configuration')} over {', '.join(read.parameters)}: {read.outcome}"
    ends = [int(np.nanargmin(values)), int(np.nanargmax(values))]
    low, high = (f"{said(target, float(values[at]))} ({read.configuration(at)})" for at in ends)
    return f"{start}; {low} to {high}."
