"""Bands: the parts of an output that are finished one after another, in the order of a grid's first axis."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from toolkit.geometry.grid import Box, Tile, TileGrid
from toolkit.geometry.span import Span


@dataclass(frozen=True, slots=True)
class Band:
    """What no tile after those in one place along the grid's first axis writes to.

    Attributes:
        index: that place: bands are finished in this order.
        box: the band, in latent units: the shares of its tiles, side by side.
        tiles: the tiles whose shares it is made of, ascending by index.
    """

    index: int
    box: Box
    tiles: tuple[Tile, ...]


def bands(grid: TileGrid) -> tuple[Band, ...]:
    """The bands of a grid. They partition the extent along its first axis and are whole along the others.

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
