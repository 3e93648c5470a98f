"""The map of tiles to ranks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, pairwise, product
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.geometry.assignment import Assignment
from toolkit.geometry.blend import Blend
from toolkit.geometry.counting import counted
from toolkit.geometry.drawing.palette import RANK_COLOURS, SEQUENTIAL
from toolkit.geometry.grid import Tile, TileGrid
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.span import Span, cores
from toolkit.geometry.tile_plan import TilePlan
from toolkit.planning.predict import latent_extent
from toolkit.plot.figure import WIDTH, Figure, make
from toolkit.plot.theme import ThemeName
from toolkit.plot.tile_values import Shown, TileValues, check_shown, tile_values
from toolkit.runs.run import Run

PANELS_PER_ROW = 4
DRAWN_WIDTH = WIDTH - 100
LIGHT = {"fillcolor": "rgba(255,255,255,0.25)", "line": {"width": 0}}
HATCHED = {
    "fillcolor": "rgba(255,255,255,0.15)",
    "fillpattern": {"shape": "/", "fgcolor": "rgba(0,0,0,0.4)", "size": 8, "solidity": 0.15},
    "line": {"width": 1, "color": "rgba(255,255,255,0.8)", "dash": "dot"},
}
DENSE = 20
"""Pixels below which a tile has no room for a hatch, nor for a number of its own."""


def ranks(plan: TilePlan | ShardPlan | Run, show: Shown = "owner", *, theme: ThemeName = "neutral") -> Figure:
    """Draw which rank computes which tile, and what a tile costs, took or sent.

    A grid over ``t`` as well has one panel per place along ``t``. Owners and costs need no run: a plan of tiles is
    enough. Of shards, which a plan cuts from whatever extent it is given, draw a run.

    Args:
        plan: a plan of tiles, or a run in tiles or shards.
        show: what the colours are: ``"owner"``, the rank, with overlaps hatched; ``"cost"``, the latent cells that are
            computed; ``"time"``, computing it (norms too); ``"bytes"``, what was sent of it (edges, and the result).
            The numbers are ranks.
        theme: ``"neutral"`` reads on light and dark pages.

    Raises:
        ToolkitError: for a run without a plan, for a plan of shards, which knows no extent, and for time or bytes of a
            plan.

    Example:
        >>> from toolkit.geometry import Assignment, Blend, TileGrid
        >>> grid = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)
        >>> plan = TilePlan(grid, Blend.linear(), Assignment.balanced(grid, ranks=2))
        >>> ranks(plan).describe()
        '12 tiles on 2 ranks, 6 6 tiles each; 1.60x the work of the whole, imbalance 1.00.'
        >>> ranks(plan, "cost").describe()
        '12 tiles on 2 ranks: latent cells computed 832 to 832, on average 832.'
    """
    check_shown(show)
    tiles, noun = _drawable(plan)
    values = None if show == "owner" else tile_values(show, plan, tiles)
    grid, what = tiles.grid, f"{counted(len(tiles.grid), noun)} on {counted(tiles.ranks, 'rank')}"
    picture = _Picture(grid, noun)
    panels = list(picture.panels(tiles, values))
    # Over numbers no hatches: they would change the colours that are to be read.
    overlaps = [] if values else list(picture.overlaps())
    numbered = any(text for panel in panels for row in panel["text"] for text in row)
    shown = f", overlaps {'light' if picture.dense else 'hatched'}" if overlaps else ""
    if values:
        shown = f"; colour: {values.column}"
    each = f"{_short(tiles.assignment.counts)} tiles" if noun == "tile" else "one"
    work = f"{grid.redundancy:.2f}x the work of the whole, imbalance {tiles.imbalance:.2f}"
    return make(
        [*panels, *overlaps],
        picture.layout(),
        title=f"{what}: {'numbers are ranks' if numbered else f'point at a {noun} for its rank'}{shown}",
        description=f"{what}: {_spread(values)}." if values else f"{what}, {each} each; {work}.",
        height=picture.height,
        theme=theme,
        table=_table(tiles, noun, values),
    )


def _spread(values: TileValues) -> str:
    low, high, mean = (f"{getattr(values.numbers, what)():.4g}" for what in ("min", "max", "mean"))
    return f"{values.name} {low} to {high}{' ' * bool(values.unit)}{values.unit}, on average {mean}"


def _table(plan: TilePlan, noun: str, values: TileValues | None) -> pd.DataFrame:
    tiles = plan.grid.tiles
    columns: dict[str, Any] = {noun: range(len(tiles)), "rank": plan.assignment.owners}
    for place, axis in enumerate(plan.grid.axes):
        columns[f"{axis} (latent cells)"] = [str(tile.box[place]) for tile in tiles]
        columns[f"core {axis} (latent cells)"] = [str(tile.core_box[place]) for tile in tiles]
    columns["latent cells computed"] = [tile.cells for tile in tiles]
    return pd.DataFrame(columns | ({values.column: values.numbers} if values else {}))


def _drawable(plan: TilePlan | ShardPlan | Run) -> tuple[TilePlan, str]:
    """The tiles to draw and what they are called. Shards are tiles without overlap, one a rank."""
    found = plan.plan if isinstance(plan, Run) else plan
    if isinstance(found, TilePlan):
        return found, "tile"
    if not isinstance(found, ShardPlan):
        raise ToolkitError("no plan to draw: the run was the model's own call; give a TilePlan or a run in shards.")
    extent = latent_extent(plan) if isinstance(plan, Run) else None
    if extent is None:
        raise ToolkitError(
            f"{found!r} knows no extent: give a cluster's run in these shards, or show the shards of an extent by "
            "plan.as_grid({'h': 60, 'w': 104})."
        )
    grid = found.as_grid(extent)
    return TilePlan(grid, Blend.crop(), Assignment(tuple(range(found.ranks)), found.ranks), found.root), "shard"


class _Picture:
    """Where each place along ``t`` is drawn, and each tile in it."""

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
        """One heatmap per place along ``t``; its cells are the cores."""
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
                **(_owned(owners, shape) if values is None else _coloured(values, cells, shape, bar=time == 0)),
                "xgap": 0 if self.dense else 1,
                "ygap": 0 if self.dense else 1,
                "text": [self._numbers(row) for row in owners.reshape(shape).tolist()],
                "texttemplate": "%{text}",
                "textfont": {"size": self._font},
                "hovertext": self._hovers(cells, owners, values).reshape(shape).tolist(),
                "hovertemplate": "%{hovertext}<extra></extra>",
            }

    def _hovers(self, cells: list[Tile], owners: np.ndarray, values: TileValues | None) -> np.ndarray:
        each = zip(cells, owners, strict=True)
        said = [[values.say(tile.index)] if values else [] for tile in cells]
        return np.array([_hover(tile, rank, self.noun, more) for (tile, rank), more in zip(each, said, strict=True)])

    @property
    def _font(self) -> int:
        return max(6, min(14, int(0.75 * self.cell[1])))

    def _numbers(self, row: list[int]) -> list[str]:
        """A number for every tile; where that is too dense, one for every stretch of tiles of one rank."""
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
                for x, y in _outline(band, length, across)
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
        """Axes in latent cells, downwards as in a picture, with equal steps both ways."""
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


def _coloured(values: TileValues, cells: list[Tile], shape: tuple[int, int], bar: bool) -> dict[str, Any]:
    """The colour of each cell's number, from 0 up and the same in all panels."""
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


def _outline(band: Span, length: int, across: bool) -> list[tuple[float, float]]:
    """A closed rectangle as points, and a gap after it, so that many make one trace."""
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


def _hover(tile: Tile, rank: int, noun: str, more: list[str]) -> str:
    spans = zip(tile.axes, tile.box, tile.core_box, strict=True)
    lines = (f"{axis} {span}" + (f", core {core}" if noun == "tile" else "") for axis, span, core in spans)
    return "<br>".join((f"<b>{noun} {tile.index}, rank {rank}</b>", *lines, f"{tile.cells} cells", *more))


def _short(values: tuple[int, ...], limit: int = 12) -> str:
    shown = " ".join(map(str, values[:limit]))
    return shown if len(values) <= limit else f"{shown} ..."
