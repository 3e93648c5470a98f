"""Time against memory against quality: what no other configuration beats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.geometry.counting import counted
from toolkit.geometry.drawing.palette import SEQUENTIAL
from toolkit.plot.figure import Figure, make, nothing
from toolkit.plot.sweep_table import HIGHER_IS_BETTER, SweepTable, brief, check_column, numbers, quantity, said
from toolkit.plot.theme import ThemeName

SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down")
LISTED = 6
GREY = "#8C8C8C"
WIDE = 20.0


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
    """Draw every row of a sweep by three measures, and those that no other row beats in all of them.

    A row is beaten where another is at least as good in every drawn measure and better in one. Rows that are not are
    large, the others small and faint. The line is the front by ``x`` and ``y`` alone. Failed rows stand above the data,
    in a lane of their own.

    Args:
        table: what :func:`toolkit.sweep` gave, or any table with a row for each configuration.
        x: measure along x.
        y: measure along y.
        colour: measure that colours; ``psnr``, ``max_abs`` or none where None, whichever there is.
        shape: column that gives the shape of a mark, of at most five different values.
        maximise: measures of which more is better; of all others less is.
        parameters: columns that make up a configuration; those of the sweep where None.
        theme: ``"neutral"`` reads on light and dark pages.

    Raises:
        ToolkitError: where a column is missing or holds no numbers, or there are too many shapes.

    Example:
        >>> table = pd.DataFrame({"tile": [8, 16, 24], "seconds": [3.0, 2.0, 2.5], "peak bytes": [1e8, 2e8, 4e8]})
        >>> pareto(table, parameters=["tile"]).describe()
        '3 configurations by time and peak: 3 done; 2 beaten by none: time 2 s, peak 200 MB (tile 16); time 3 s,
        peak 100 MB (tile 8).'
    """
    colour = colour or next((name for name in ("psnr", "max_abs") if name in table.columns), None)
    drawn = [x, y] + ([colour] if colour else [])
    read = SweepTable.read(table, parameters, drawn)
    values = np.column_stack([np.where(read.done, numbers(table, name), np.nan) for name in drawn])
    costs = values * [-1 if name in maximise else 1 for name in drawn]
    units = [quantity(name, values[:, i]) for i, name in enumerate(drawn)]
    scaled = values * [unit.scale for unit in units]
    front = unbeaten(costs)
    marks = _Marks(read, scaled, front, _groups(table, shape))
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
        layout["annotations"] = [nothing("no row has all of these measures")]
    return make(
        traces,
        layout,
        title=f"{counted(len(best), 'configuration')} of {len(table)} that no other beats in "
        f"{', '.join(unit.title.partition(' (')[0] for unit in units)}",
        description=_describe(read, drawn, values, best),
        height=460,
        theme=theme,
        table=table[[*read.parameters, *drawn]].assign(unbeaten=front, status=read.status),
    )


def unbeaten(costs: np.ndarray) -> np.ndarray:
    """Which rows no other row beats: at least as low in every column, lower in one. Rows with a NaN are beaten.

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


class _Marks:
    """Rows as marks: a trace for each shape, twice, faint and strong."""

    def __init__(self, read: SweepTable, scaled: np.ndarray, front: np.ndarray, groups: pd.Series | None) -> None:
        self.read, self.scaled, self.front = read, scaled, front
        self.groups = pd.Series("", index=read.rows.index) if groups is None else groups
        self.names = list(dict.fromkeys(self.groups))
        self.known = ~np.isnan(scaled).any(axis=1)
        self.across, self.up = _Line.of(scaled[:, 0]), _Line.of(scaled[:, 1])

    def traces(self, title: str | None) -> Iterator[dict[str, Any]]:
        """The marks of all rows that have their measures; a colour bar at the last."""
        colour = _Scale(title, self.scaled[:, 2]) if title else None
        for strong in (False, True):
            for name, symbol in zip(self.names, SHAPES, strict=False):
                chosen = np.flatnonzero(self.known & (self.front == strong) & np.asarray(self.groups == name))
                if len(chosen):
                    shown = {"name": str(name), "showlegend": bool(name) and self._first(name, strong)}
                    yield self._marks(chosen, symbol, strong, colour) | shown
        if colour:
            nowhere = {"x": [None], "y": [None], "hoverinfo": "skip", "showlegend": False}
            bar = {"color": [colour.low], **colour.marker, "showscale": True}
            yield {"type": "scatter", "mode": "markers", **nowhere, "marker": bar}

    def failed(self) -> Iterator[dict[str, Any]]:
        """A lane above the data: every row that failed, side by side."""
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
        """Whether this is the first trace of a shape: the legend shows each once."""
        return not strong or not (self.known & ~self.front & np.asarray(self.groups == name)).any()

    def _marks(self, rows: np.ndarray, symbol: str, strong: bool, colour: _Scale | None) -> dict[str, Any]:
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
    """A measure as a colour."""

    def __init__(self, title: str, values: np.ndarray) -> None:
        finite = values[np.isfinite(values)]
        self.low, self.high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        ticks = np.linspace(self.low, self.high, 5) if self.high > self.low else np.array([self.low])
        bar = {"title": {"text": title}, "thickness": 16, "tickvals": ticks.tolist()}
        bar["ticktext"] = [f"{tick:.3g}" for tick in ticks]
        top = self.high if self.high > self.low else self.low + 1e-9 + abs(self.low) * 1e-6
        self.marker = {"colorscale": SEQUENTIAL, "cmin": self.low, "cmax": top, "colorbar": bar}

    def clip(self, values: np.ndarray) -> np.ndarray:
        """Numbers as they are coloured: an infinite PSNR as the best finite one."""
        return np.clip(values, self.low, self.high).astype(np.float32)


def _groups(table: pd.DataFrame, shape: str | None) -> pd.Series | None:
    if shape is None:
        return None
    check_column(table, shape)
    groups = table[shape].map(lambda value: f"{shape} {brief(value)}")
    if groups.nunique() > len(SHAPES):
        raise ToolkitError(f"shape={shape!r}: has {groups.nunique()} values, there are {len(SHAPES)} shapes.")
    return groups


def _line(scaled: np.ndarray, costs: np.ndarray) -> Iterator[dict[str, Any]]:
    """The front by the first two columns: a stair, since nothing between two rows was measured."""
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
            "name": "front of the two axes",
            "showlegend": True,
        }


@dataclass(frozen=True)
class _Line:
    """One of the two axes: logarithmic where its numbers span more than twenty times the least of them."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, values: np.ndarray) -> _Line:
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        if low > 0 and high / low > WIDE:
            return cls(float(np.log10(low)), float(np.log10(high)), True)
        return cls(low, high, False)

    def at(self, part: float) -> float:
        """A place on the axis: 0 at the lowest number, 1 at the highest."""
        place = self.low + part * (self.high - self.low or (1.0 if self.log else abs(self.high) or 1.0))
        return float(10**place) if self.log else place

    def layout(self, title: str, lane: bool = False) -> dict[str, Any]:
        """The axis for plotly, with room above the highest number for a lane."""
        ends = [self.at(-0.07), self.at(1.17 if lane else 1.07)]
        shown = {"title": {"text": f"{title}, log" if self.log else title}}
        if not self.log:
            return {**shown, "range": ends}
        return {**shown, "type": "log", "range": np.log10(ends).tolist(), "dtick": "D2", "tickformat": ".1~g"}


def _describe(read: SweepTable, drawn: Sequence[str], values: np.ndarray, best: np.ndarray) -> str:
    names = " and ".join(quantity(name).title.partition(" (")[0] for name in drawn)
    start = f"{counted(len(read.rows), 'configuration')} by {names}: {read.outcome}; {len(best)} beaten by none"
    rows = sorted(best, key=lambda row: tuple(values[row]))[:LISTED]
    told = [
        ", ".join(said(name, float(value)) for name, value in zip(drawn, values[row], strict=True))
        + f" ({read.configuration(row)})"
        for row in rows
    ]
    more = f"; and {len(best) - LISTED} more" if len(best) > LISTED else ""
    return f"{start}: {'; '.join(told)}{more}." if told else f"{start}."
