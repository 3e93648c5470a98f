"""The lines of parallel coordinates: rows as lines over axes, their colours, and the marks to hover over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from plotly.colors import sample_colorscale

from toolkit.geometry.drawing.palette import THIN_MARKS
from toolkit.plot.sweep_axis import Axis
from toolkit.plot.sweep_table import SweepTable

LEVELS = 12
"""Number of colours for the objective."""

LANE = -0.14
"""Where the lines of failed rows end, below the axes of measures."""

GREY = "#8C8C8C"


class LineColours:
    """The objective's axis divided into a few colours, so that many lines make few traces."""

    def __init__(self, axis: Axis, rising: bool) -> None:
        self.axis = axis
        self.level = np.minimum(np.nan_to_num(axis.places * LEVELS, nan=-1.0).astype(int), LEVELS - 1)
        # The best rows are drawn last, on top of the others.
        self.order = [-1, *(range(LEVELS) if rising else reversed(range(LEVELS)))]
        self.palette = sample_colorscale(THIN_MARKS, [(i + 0.5) / LEVELS for i in range(LEVELS)])

    @property
    def marker(self) -> dict[str, Any]:
        """The colour bar."""
        places, texts = zip(*self.axis.ticks, strict=True)
        bar = {"title": {"text": self.axis.title}, "thickness": 16, "tickvals": places, "ticktext": texts}
        return {"colorscale": THIN_MARKS, "cmin": 0.0, "cmax": 1.0, "colorbar": bar, "showscale": True}


class SweepLines:
    """Rows as lines across the axes."""

    def __init__(self, read: SweepTable, axes: Sequence[Axis], *, target: Axis) -> None:
        self.read = read
        self.places = np.stack([axis.places for axis in axes], axis=1)
        self.target = next(i for i, axis in enumerate(axes) if axis is target)
        self.x = positions(axes)

    def lines(self, colours: LineColours) -> Iterator[dict[str, Any]]:
        """One trace for all rows of a colour."""
        fine = self.read.done
        opacity = float(np.clip(80 / max(1, fine.sum()), 0.12, 0.9))
        for level in colours.order:
            chosen = np.flatnonzero(fine & (colours.level == level))
            if len(chosen):
                colour = colours.palette[level] if level >= 0 else GREY
                yield _trace(*self._strokes(chosen), line={"color": colour, "width": 1.6}, opacity=opacity)

    def marks(self, colours: LineColours) -> Iterator[dict[str, Any]]:
        """Marks to hover over, and the colour bar."""
        rows = np.flatnonzero(self.read.done & ~np.isnan(colours.axis.places))
        hovers = self.read.hovers(rows)
        axes = np.arange(self.places.shape[1])
        # Repeat the text on every axis only if that keeps the figure small.
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
        """Lines across all axes, with x in two bytes per point because there are many."""
        return np.tile(np.append(self.x, self.x[-1]), len(rows)), _gaps(self.places[rows])

    def failed(self) -> Iterator[dict[str, Any]]:
        """Dotted lines that end side by side in a lane below the axes; one trace per kind of failure."""
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
            yield _trace(_gaps(np.column_stack([across, x])), _gaps(places), line=line, name=status, opacity=opacity)
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
    """Lines one after another, separated by gaps."""
    return np.column_stack([rows, np.full(len(rows), np.nan)]).ravel().astype(np.float32)


def _trace(
    x: np.ndarray, y: np.ndarray, *, line: dict[str, Any], name: str = "", opacity: float = 1.0
) -> dict[str, Any]:
    common = {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": line, "hoverinfo": "skip"}
    return common | {"opacity": opacity, "name": name, "showlegend": bool(name)}


def positions(axes: Sequence[Axis]) -> np.ndarray:
    """The position of each axis, in letters: its tick labels and half of both titles need room to its left."""
    x = [0.0]
    for left, right in pairwise(axes):
        x.append(x[-1] + max(right.letters + 6, (len(left.title) + len(right.title)) / 2 + 3))
    return np.rint(x).astype(np.int16)
