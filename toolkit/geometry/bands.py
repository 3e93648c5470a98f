"""Bands: the parts of an output that are complete one after another, along a grid's first axis."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from toolkit.geometry.grid import Box, Tile, TileGrid
from toolkit.geometry.span import Span


@dataclass(frozen=True, slots=True)
class Band:
    """The shares of all tiles at one place along the grid's first axis. No later tile writes to it.

    Attributes:
        index: The place along the first axis. Bands are complete in this order.
        box: The band in latent units.
        tiles: The tiles whose shares make up the band, in ascending order.
    """

    index: int
    box: Box
    tiles: tuple[Tile, ...]


def bands(grid: TileGrid) -> tuple[Band, ...]:
    """The bands of a grid. They divide its first axis and span the whole of the others.

    Example:
        >>> grid = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)
        >>> [(band.box, len(band.tiles)) for band in bands(grid)]
        [((0:17, 0:104), 4), ((17:34, 0:104), 4), ((34:60, 0:104), 4)]
    """
    whole = tuple(Span(0, row[-1].stop) for row in grid.rows[1:])
    rows = groupby(grid.tiles, key=lambda tile: tile.position[0])
    made = []
    for index, group in rows:
        tiles = tuple(group)
        made.append(Band(index, (tiles[0].share_box[0], *whole), tiles))
    return tuple(made)
