"""Edges: the parts of earlier tiles that a tile needs to blend its own share.

A tile's share runs from its own start to the next tile's start, so it contains every overlap with an earlier tile. In a
pairwise grid these overlaps are the trailing edges of the earlier tiles, and no blend writes to a trailing edge. So the
ranks exchange raw edges once, and then each rank blends its own tiles:

    tile 0   |======share======|~~edge~~|
    tile 1                     |======share======|~~edge~~|
                               the overlap: share of tile 1, edge of tile 0
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from math import prod

from toolkit.geometry.grid import Box, Tile, TileGrid
from toolkit.geometry.span import Span


@dataclass(frozen=True, slots=True)
class Edge:
    """The part of an earlier tile that lies in a later tile's share.

    Attributes:
        source: Index of the earlier tile.
        target: Index of the tile that needs the edge.
        offset: Number of tiles from the source to the target along each axis: 0 or 1, not all 0.
        box: The cells of the edge, one span per axis.
    """

    source: int
    target: int
    offset: tuple[int, ...]
    box: Box

    @property
    def cells(self) -> int:
        """Number of latent cells in the edge."""
        return prod(map(len, self.box))


def edges_into(grid: TileGrid, tile: Tile) -> tuple[Edge, ...]:
    """The edges that ``tile`` needs, in ascending order of source. On a 2-D grid: the corner, upper and left edge.

    Example:
        >>> grid = TileGrid.strided({"h": 56, "w": 56}, tile=32, stride=24)
        >>> [(edge.source, edge.box) for edge in edges_into(grid, grid.tiles[4])]
        [(0, (24:32, 24:32)), (1, (24:32, 24:48)), (3, (24:48, 24:32))]
    """
    return tuple(_edges_into(grid, tile, overlaps=_overlaps(grid), offsets=_offsets(grid)))


def all_edges(grid: TileGrid) -> tuple[Edge, ...]:
    """All edges of the grid, by target and then by source. All ranks exchange edges in this order."""
    overlaps, offsets = _overlaps(grid), _offsets(grid)
    return tuple(edge for tile in grid.tiles for edge in _edges_into(grid, tile, overlaps=overlaps, offsets=offsets))


def edges_of(grid: TileGrid, owners: tuple[int, ...], rank: int) -> tuple[Edge, ...]:
    """The edges out of a rank's tiles and into them, in the order of :func:`all_edges`.

    Args:
        grid: The tiles.
        owners: The rank of each tile.
        rank: The rank.

    Example:
        >>> grid = TileGrid.cover({"w": 16}, tile=8, overlap=4)
        >>> [[(edge.source, edge.target) for edge in edges_of(grid, (0, 1, 1), rank)] for rank in range(3)]
        [[(0, 1)], [(0, 1), (1, 2)], []]
    """
    return _edges_by_rank(grid, owners).get(rank, ())


# A rehearsal asks for one rank after the other, and a grid of thousands of tiles has tens of thousands of edges.
@lru_cache(maxsize=4)
def _edges_by_rank(grid: TileGrid, owners: tuple[int, ...]) -> dict[int, tuple[Edge, ...]]:
    found: dict[int, list[Edge]] = {}
    for edge in all_edges(grid):
        for rank in {owners[edge.source], owners[edge.target]}:
            found.setdefault(rank, []).append(edge)
    return {rank: tuple(edges) for rank, edges in found.items()}


def _edges_into(
    grid: TileGrid, tile: Tile, *, overlaps: list[list[Span]], offsets: list[tuple[tuple[int, ...], int]]
) -> Iterator[Edge]:
    for offset, distance in offsets:
        # The first tiles along an axis have no tile before them.
        if any(step > place for step, place in zip(offset, tile.position, strict=True)):
            continue
        box = tuple(
            overlaps[axis][place] if step else tile.share_box[axis]
            for axis, (place, step) in enumerate(zip(tile.position, offset, strict=True))
        )
        if all(map(len, box)):
            yield Edge(tile.index - distance, tile.index, offset, box)


def _overlaps(grid: TileGrid) -> list[list[Span]]:
    """The overlap of each tile with the one before it, by axis and place; empty at the first place."""
    return [[Span(0, 0), *(a & b for a, b in pairwise(row))] for row in grid.rows]


def _offsets(grid: TileGrid) -> list[tuple[tuple[int, ...], int]]:
    """All steps back by at most one tile per axis, each with its length in tile indices, longest first."""
    offsets = [offset for offset in product((1, 0), repeat=len(grid.axes)) if any(offset)]
    lengths = [prod(grid.shape[axis + 1 :]) for axis in range(len(grid.axes))]
    return [(offset, sum(s * n for s, n in zip(offset, lengths, strict=True))) for offset in offsets]
