"""The panels of the map from tiles to ranks: where each tile is drawn, its colour, its number and its hover text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, pairwise, product
from math import nan
from typing import Any

import numpy as np

from toolkit.geometry.drawing.palette import RANK_COLOURS, SEQUENTIAL
from toolkit.geometry.grid import Tile, TileGrid
from toolkit.geometry.span import Span, cores
from toolkit.geometry.tile_plan import TilePlan
from toolkit.plot.figure import WIDTH
from toolkit.plot.tile_values import TileValues

PANELS_PER_ROW = 4

DRAWN_WIDTH = WIDTH - 100

LIGHT = {"fillcolor": "rgba(255,255,255,0.25)", "line": {"width": 0}}

HATCHED = {
    "fillcolor": "rgba(255,255,255,0.15)",
    "fillpattern": {"shape": "/", "fgcolor": "rgba(0,0,0,0.4)", "size": 8, "solidity": 0.15},
    "line": {"width": 1, "color": "rgba(255,255,255,0.8)", "dash": "dot"},
}

DENSE = 20
"""Pixels below which a tile is too small for a hatch, or for a number of its own."""


class RankPanels:
    """The layout of the figure: a panel for each position along ``t``, and each tile within its panel."""

    def __init__(self, grid: TileGrid, noun: str) -> None:
        self.noun = noun
        rows = dict(zip(grid.axes, grid.rows, strict=True))
        flat = [axis for axis in grid.axes if axis != "t"] or ["t"]
        self.across = "w" if "w" in flat else flat[-1]
        self.down = next((axis for axis in flat if axis != self.across), None)
        self.columns = rows[self.across]
        self.lines = rows[self.down] if self.down else (Span(0, max(1, self.columns[-1].stop // 8)),)
        self.times = rows["t"] if "t" in rows and self.across != "t" else (Span(0, 1),)
        self.width, self.depth = self.columns[-1].stop, self.lines[-1].stop
        self.panels_across = min(len(self.times), PANELS_PER_ROW)
        gap = max(1, max(self.width, self.depth) // 8)
        self.offsets = [
            ((place % PANELS_PER_ROW) * (self.width + gap), (place // PANELS_PER_ROW) * (self.depth + gap))
            for place in range(len(self.times))
        ]
        self.right = max(dx for dx, _ in self.offsets) + self.width
        self.bottom = max(dy for _, dy in self.offsets) + self.depth
        drawn = min(max(round(DRAWN_WIDTH * self.bottom / self.right), 80), 760)
        self.height = drawn + 130
        scale = min(DRAWN_WIDTH / self.right, drawn / self.bottom)
        self.cell = (scale * self.width / len(self.columns), scale * self.depth / len(self.lines))
        self.dense = min(self.cell) < DENSE

    def panels(self, plan: TilePlan, values: TileValues | None = None) -> Iterator[dict[str, Any]]:
        """One heatmap per position along ``t``; its cells are the tiles' cores."""
        order = {axis: place for place, axis in enumerate(plan.grid.axes)}
        tiles = {tile.position: tile for tile in plan.grid.tiles}
        shape = (len(self.lines), len(self.columns))
        for time, (dx, dy) in enumerate(self.offsets):
            place, cells = {"t": time}, []
            for line, column in product(*map(range, shape)):
                place.update({self.across: column} | ({self.down: line} if self.down else {}))
                cells.append(tiles[tuple(place[axis] for axis in order)])
            owners = np.array([plan.assignment.owners[tile.index] for tile in cells])
            yield {
                "type": "heatmap",
                "x": _edges(self.columns, dx),
                "y": _edges(self.lines, dy),
                **(_owned(owners, shape) if values is None else _coloured(values, cells, shape=shape, bar=time == 0)),
                "xgap": 0 if self.dense else 1,
                "ygap": 0 if self.dense else 1,
                "text": [self._numbers(row) for row in owners.reshape(shape).tolist()],
                "texttemplate": "%{text}",
                "textfont": {"size": self._font},
                "hovertext": self._hovers(cells, owners, values=values).reshape(shape).tolist(),
                "hovertemplate": "%{hovertext}<extra></extra>",
            }

    def _hovers(self, cells: list[Tile], owners: np.ndarray, *, values: TileValues | None) -> np.ndarray:
        each = zip(cells, owners, strict=True)
        said = [[values.say(tile.index)] if values else [] for tile in cells]
        return np.array(
            [_hover(tile, rank, noun=self.noun, more=more) for (tile, rank), more in zip(each, said, strict=True)]
        )

    @property
    def _font(self) -> int:
        return max(6, min(14, int(0.75 * self.cell[1])))

    def _numbers(self, row: list[int]) -> list[str]:
        """The rank of every tile as text; if that is too dense, one number for each run of tiles with the same rank."""
        texts = []
        for rank, stretch in groupby(row):
            count = len(list(stretch))
            each, room = str(rank), count * self.cell[0]
            if self.cell[0] >= self._font * 0.65 * len(each) + 2:
                texts += [each] * count
            else:
                fits = room >= self._font * 0.65 * len(each) and self.cell[1] >= self._font
                texts += [each if fits and place == count // 2 else "" for place in range(count)]
        return texts

    def overlaps(self) -> Iterator[dict[str, Any]]:
        """Hatched bands where neighbours overlap, one trace per direction."""
        for row, length, across in ((self.columns, self.depth, True), (self.lines, self.width, False)):
            bands = [a & b for a, b in pairwise(row)]
            corners = [
                (x + dx, y + dy)
                for dx, dy in self.offsets
                for band in bands
                if len(band)
                for x, y in _outline(band, length, across=across)
            ]
            if corners:
                yield {
                    "type": "scatter",
                    "mode": "lines",
                    "x": np.array([x for x, _ in corners], np.float32),
                    "y": np.array([y for _, y in corners], np.float32),
                    "fill": "toself",
                    **(LIGHT if self.dense else HATCHED),
                    "hoverinfo": "skip",
                    "showlegend": False,
                }

    def layout(self) -> dict[str, Any]:
        """Axes in latent cells with equal scales, h pointing down as in a picture."""
        single = len(self.times) == 1
        x: dict[str, Any] = {"title": {"text": f"{self.across} (latent cells)"}, "range": [0, self.right]}
        y: dict[str, Any] = {"range": [self.bottom, 0], "scaleanchor": "x", "constrain": "domain"}
        x |= {"showgrid": False, "constrain": "domain"}
        y |= {"showgrid": False, "title": {"text": f"{self.down} (latent cells)" if self.down else ""}}
        y["showticklabels"] = self.down is not None
        if not single:
            x |= _ticks([dx for dx, _ in self.offsets[: self.panels_across]], self.width)
            y |= _ticks([dy for _, dy in self.offsets[::PANELS_PER_ROW]], self.depth)
        names = [] if single else zip(self.times, self.offsets, strict=True)
        labels = [
            {
                "x": dx,
                "y": dy,
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
                "text": f"t {span}",
            }
            for span, (dx, dy) in names
        ]
        return {"xaxis": x, "yaxis": y, "annotations": labels}


def _owned(owners: np.ndarray, shape: tuple[int, int]) -> dict[str, Any]:
    """The colour of each cell's rank."""
    return {
        "z": (owners % len(RANK_COLOURS)).astype(np.uint8).reshape(shape),
        "zmin": -0.5,
        "zmax": len(RANK_COLOURS) - 0.5,
        "colorscale": _steps(),
        "showscale": False,
    }


def _coloured(values: TileValues, cells: list[Tile], *, shape: tuple[int, int], bar: bool) -> dict[str, Any]:
    """The colour of each cell's value, on a scale from 0 that all panels share."""
    return {
        "z": values.numbers[[tile.index for tile in cells]].astype(np.float32).reshape(shape),
        "zmin": 0,
        "zmax": float(values.numbers.max()) or 1.0,
        "colorscale": SEQUENTIAL,
        "showscale": bar,
        "colorbar": {"title": {"text": values.unit or "cells"}, "thickness": 16},
    }


def _edges(row: tuple[Span, ...], offset: int) -> list[int]:
    bounds = cores(row)
    return [*(core.start + offset for core in bounds), bounds[-1].stop + offset]


def _outline(band: Span, length: int, *, across: bool) -> list[tuple[float, float]]:
    """A closed rectangle as points followed by a gap, so that many rectangles make one trace."""
    corners = [(band.start, 0), (band.stop, 0), (band.stop, length), (band.start, length), (band.start, 0)]
    return [*(c if across else c[::-1] for c in corners), (nan, nan)]


def _steps() -> list[list[float | str]]:
    count = len(RANK_COLOURS)
    return [[(i + side) / count, colour] for i, colour in enumerate(RANK_COLOURS) for side in (0, 1)]


def _ticks(offsets: list[int], extent: int) -> dict[str, Any]:
    return {
        "tickvals": [offset + at for offset in offsets for at in (0, extent)],
        "ticktext": ["0", str(extent)] * len(offsets),
    }


def _hover(tile: Tile, rank: int, *, noun: str, more: list[str]) -> str:
    spans = zip(tile.axes, tile.box, tile.core_box, strict=True)
    lines = (f"{axis} {span}" + (f", core {core}" if noun == "tile" else "") for axis, span, core in spans)
    return "<br>".join((f"<b>{noun} {tile.index}, rank {rank}</b>", *lines, f"{tile.cells} cells", *more))
