"""The marks of a Pareto figure: rows as points, their colours, and the two axes that they lie on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from toolkit.geometry.drawing.palette import THIN_MARKS
from toolkit.plot.sweep_table import SweepTable

SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down")

GREY = "#8C8C8C"

WIDE = 20.0


class Marks:
    """Rows as marks: two traces per shape, one faint and one strong."""

    def __init__(self, read: SweepTable, scaled: np.ndarray, *, front: np.ndarray, groups: pd.Series | None) -> None:
        self.read, self.scaled, self.front = read, scaled, front
        self.groups = pd.Series("", index=read.rows.index) if groups is None else groups
        self.names = list(dict.fromkeys(self.groups))
        self.known = ~np.isnan(scaled).any(axis=1)
        self.across, self.up = MarkAxis.of(scaled[:, 0]), MarkAxis.of(scaled[:, 1])

    def traces(self, title: str | None) -> Iterator[dict[str, Any]]:
        """The marks of all rows that have every measure, and a colour bar in the last trace."""
        colour = _Scale(title, self.scaled[:, 2]) if title else None
        for strong in (False, True):
            for name, symbol in zip(self.names, SHAPES, strict=False):
                chosen = np.flatnonzero(self.known & (self.front == strong) & np.asarray(self.groups == name))
                if len(chosen):
                    shown = {"name": str(name), "showlegend": bool(name) and self._first(name, strong)}
                    yield self._marks(chosen, symbol, strong=strong, colour=colour) | shown
        if colour:
            nowhere = {"x": [None], "y": [None], "hoverinfo": "skip", "showlegend": False}
            bar = {"color": [colour.low], **colour.marker, "showscale": True}
            yield {"type": "scatter", "mode": "markers", **nowhere, "marker": bar}

    def failed(self) -> Iterator[dict[str, Any]]:
        """A lane above the data with all failed rows side by side."""
        rows = np.flatnonzero(~self.read.done)
        if len(rows):
            step = min(0.03, 0.96 / len(rows))
            yield {
                "type": "scatter",
                "mode": "markers",
                "x": np.array([self.across.at(step * i) for i in range(len(rows))], np.float32),
                "y": np.full(len(rows), self.up.at(1.11), np.float32),
                "marker": {"symbol": "x", "size": 8, "color": GREY},
                "hovertext": self.read.hovers(rows),
                "hoverinfo": "text",
                "name": ", ".join(f"{(self.read.status == s).sum()} {s}" for s in self.read.failures),
                "showlegend": True,
            }

    def _first(self, name: str, strong: bool) -> bool:
        """Whether this is the first trace of a shape, so that the legend lists each shape once."""
        return not strong or not (self.known & ~self.front & np.asarray(self.groups == name)).any()

    def _marks(self, rows: np.ndarray, symbol: str, *, strong: bool, colour: _Scale | None) -> dict[str, Any]:
        marker: dict[str, Any] = {"symbol": symbol, "size": 12 if strong else 7, "color": GREY}
        if colour:
            marker |= {**colour.marker, "color": colour.clip(self.scaled[rows, 2]), "showscale": False}
        return {
            "type": "scatter",
            "mode": "markers",
            "x": self.scaled[rows, 0].astype(np.float32),
            "y": self.scaled[rows, 1].astype(np.float32),
            "marker": marker,
            "opacity": 1.0 if strong else 0.45,
            "hovertext": self.read.hovers(rows),
            "hoverinfo": "text",
        }


class _Scale:
    """A measure shown as colour."""

    def __init__(self, title: str, values: np.ndarray) -> None:
        finite = values[np.isfinite(values)]
        self.low, self.high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        ticks = np.linspace(self.low, self.high, 5) if self.high > self.low else np.array([self.low])
        bar = {"title": {"text": title}, "thickness": 16, "tickvals": ticks.tolist()}
        bar["ticktext"] = [f"{tick:.3g}" for tick in ticks]
        top = self.high if self.high > self.low else self.low + 1e-9 + abs(self.low) * 1e-6
        self.marker = {"colorscale": THIN_MARKS, "cmin": self.low, "cmax": top, "colorbar": bar}

    def clip(self, values: np.ndarray) -> np.ndarray:
        """Numbers as they are coloured: an infinite PSNR gets the colour of the best finite one."""
        return np.clip(values, self.low, self.high).astype(np.float32)


@dataclass(frozen=True)
class MarkAxis:
    """One of the two axes; it is logarithmic if the largest number is more than twenty times the smallest."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, values: np.ndarray) -> MarkAxis:
        """The axis on which the given numbers fit."""
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        if low > 0 and high / low > WIDE:
            return cls(float(np.log10(low)), float(np.log10(high)), True)
        return cls(low, high, False)

    def at(self, part: float) -> float:
        """A point on the axis: 0 is at the lowest number, 1 at the highest."""
        place = self.low + part * (self.high - self.low or (1.0 if self.log else abs(self.high) or 1.0))
        return float(10**place) if self.log else place

    def layout(self, title: str, lane: bool = False) -> dict[str, Any]:
        """The axis in plotly's format, with room above the highest number for a lane."""
        ends = [self.at(-0.07), self.at(1.17 if lane else 1.07)]
        shown = {"title": {"text": f"{title}, log" if self.log else title}}
        if not self.log:
            return {**shown, "range": ends}
        return {**shown, "type": "log", "range": np.log10(ends).tolist(), "dtick": "D2", "tickformat": ".1~g"}
