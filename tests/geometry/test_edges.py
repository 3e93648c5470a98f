"""Edges: with its own cells they are all that a tile needs to finish its share, and no more."""

import pickle
from collections import Counter
from itertools import product

import pytest
from geometry.grids import grids
from hypothesis import given, settings

from toolkit.geometry import Span, TileGrid
from toolkit.geometry.edges import all_edges, edges_into


def cells(box: tuple[Span, ...]) -> list[tuple[int, ...]]:
    return list(product(*(range(span.start, span.stop) for span in box)))


@given(grids(pairwise=True))
@settings(max_examples=80, deadline=None)
def test_a_share_is_finished_from_the_tile_and_its_edges(grid):
    assert grid.pairwise
    held = {tile.index: set(cells(tile.box)) for tile in grid.tiles}
    for tile in grid.tiles:
        brought = Counter((edge.source, cell) for edge in edges_into(grid, tile) for cell in cells(edge.box))
        needed = {
            (other, cell)
            for cell in cells(tile.share_box)
            for other, holds in held.items()
            if cell in holds and other != tile.index
        }
        assert set(brought) == needed
        assert set(brought.values()) <= {1}


@given(grids(pairwise=True))
@settings(max_examples=60, deadline=None)
def test_edges_come_from_earlier_tiles_in_one_order(grid):
    edges = all_edges(grid)
    assert list(edges) == [edge for tile in grid.tiles for edge in edges_into(grid, tile)]
    assert [(e.target, e.source) for e in edges] == sorted((e.target, e.source) for e in edges)
    for edge in edges:
        source, target = grid.tiles[edge.source], grid.tiles[edge.target]
        assert edge.source < edge.target
        assert edge.offset == tuple(b - a for a, b in zip(source.position, target.position, strict=True))
        assert set(edge.offset) == {0, 1} or set(edge.offset) == {1}
        assert all(e in s and e in t for e, s, t in zip(edge.box, source.box, target.share_box, strict=True))
        assert edge.cells == len(cells(edge.box)) > 0


@pytest.mark.parametrize("extent", [{"w": 96}, {"h": 64, "w": 96}, {"t": 4, "h": 64, "w": 96}])
def test_without_overlap_there_are_no_edges(extent):
    assert all_edges(TileGrid.cover(extent, tile=16)) == ()


def test_overlap_along_one_axis_brings_edges_along_that_axis_only():
    grid = TileGrid.cover({"h": 8, "w": 8}, tile={"h": 4, "w": 5}, overlap={"h": 0, "w": 2})
    assert {edge.offset for edge in all_edges(grid)} == {(0, 1)}


def test_corner_up_left():
    grid = TileGrid.strided({"h": 56, "w": 56}, tile=32, stride=24)
    corner, up, left = edges_into(grid, grid.tiles[4])
    assert (corner.source, corner.offset, corner.box) == (0, (1, 1), (Span(24, 32), Span(24, 32)))
    assert (up.source, up.offset, up.box) == (1, (1, 0), (Span(24, 32), Span(24, 48)))
    assert (left.source, left.offset, left.box) == (3, (0, 1), (Span(24, 48), Span(24, 32)))
    assert edges_into(grid, grid.tiles[0]) == ()


def test_three_axes_bring_seven_edges():
    grid = TileGrid.cover({"t": 6, "h": 6, "w": 6}, tile=4, overlap=2)
    assert len(edges_into(grid, grid.tiles[-1])) == 7
    assert len(all_edges(grid)) == 1 * 3 + 3 * 3 + 7  # three axis neighbours, three face, one corner tile


def test_an_edge_is_a_value():
    edges, again = (all_edges(TileGrid.cover({"h": 12, "w": 12}, tile=8, overlap=4)) for _ in range(2))
    assert edges == again
    assert len(set(edges) | set(again)) == len(edges)
    assert pickle.loads(pickle.dumps(edges)) == edges
