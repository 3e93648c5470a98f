"""Grids: which tiles there are, what they hold, and where they meet."""

import pickle
from dataclasses import FrozenInstanceError
from itertools import product
from math import prod

import pytest
from geometry.grids import grids
from hypothesis import given, settings

from toolkit.errors import PlanError, ToolkitError
from toolkit.geometry import Span, TileGrid

SMALL = {"h": 60, "w": 104}  # 480 x 832 at 8x
LARGE = {"h": 128, "w": 128}  # 1024 x 1024 at 8x


def cells(box: tuple[Span, ...]) -> set[tuple[int, ...]]:
    return set(product(*(range(span.start, span.stop) for span in box)))


@pytest.mark.parametrize(("extent", "fewest", "with_slivers"), [(SMALL, 12, 15), (LARGE, 25, 36)])
def test_cover_saves_the_slivers_of_a_stride(extent, fewest, with_slivers):
    assert len(TileGrid.cover(extent, tile=32, overlap=8)) == fewest
    assert len(TileGrid.strided(extent, tile=32, stride=24)) == with_slivers


def test_tiles_of_a_known_grid():
    grid = TileGrid.cover(SMALL, tile=32, overlap=8)
    tile = grid.tiles[6]
    assert (tile.index, tile.position, tile.axes) == (6, (1, 2), ("h", "w"))
    assert tile.spans == {"h": Span(17, 43), "w": Span(48, 80)}
    assert tile.core == {"h": Span(21, 38), "w": Span(52, 76)}
    assert tile.share_box == (Span(17, 34), Span(48, 72))
    assert (tile.cells, tile.share_cells) == (26 * 32, 17 * 24)
    assert repr(tile) == "Tile(6: h 17:43, w 48:80)"
    assert grid.extent == SMALL
    assert grid.shape == (3, 4)
    assert grid.redundancy == 12 * 26 * 32 / (60 * 104)


def test_seams_of_a_known_grid():
    grid = TileGrid.cover({"h": 12, "w": 20}, tile={"h": 8, "w": 20}, overlap={"h": 4, "w": 0})
    (seam,) = grid.seams
    assert (seam.axis, seam.tiles, seam.span, seam.box) == ("h", (0, 1), Span(4, 8), (Span(4, 8), Span(0, 20)))


def test_tiles_that_only_touch_have_an_empty_seam():
    (seam,) = TileGrid.cover({"w": 8}, tile=4).seams
    assert (seam.span, seam.box) == (Span(4, 4), (Span(4, 4),))


def test_axes_may_differ():
    grid = TileGrid.cover(
        {"t": 21, "h": 60, "w": 104}, tile={"t": 9, "h": 60, "w": 32}, overlap={"t": 2, "h": 0, "w": 8}
    )
    assert grid.shape == (3, 1, 4)
    assert [tile.position for tile in grid.tiles] == list(product(range(3), range(1), range(4)))
    assert repr(grid).startswith("TileGrid(t 21 in 3 x 9, h 60 in 1 x 60, w 104 in 4 x 32; 12 tiles")


@given(grids())
@settings(max_examples=60, deadline=None)
def test_tiles_cover_and_cores_and_shares_partition(grid):
    whole = set(product(*map(range, grid.extent.values())))
    assert set().union(*(cells(tile.box) for tile in grid.tiles)) == whole
    for boxes in ([tile.core_box for tile in grid.tiles], [tile.share_box for tile in grid.tiles]):
        assert sum(len(cells(box)) for box in boxes) == len(whole)
        assert set().union(*map(cells, boxes)) == whole
    assert all(cells(tile.core_box) | cells(tile.share_box) <= cells(tile.box) for tile in grid.tiles)
    assert sum(tile.cells for tile in grid.tiles) == pytest.approx(grid.redundancy * len(whole))


@given(grids())
@settings(max_examples=60, deadline=None)
def test_index_position_and_length_agree(grid):
    assert len(grid) == len(grid.tiles) == prod(grid.shape)
    assert [grid.index(tile.position) for tile in grid.tiles] == [tile.index for tile in grid.tiles]
    assert [tile.index for tile in grid.tiles] == list(range(len(grid)))


@given(grids())
@settings(max_examples=60, deadline=None)
def test_seams_are_where_neighbours_meet(grid):
    seams = {seam.tiles: seam for seam in grid.seams}
    neighbours = {
        (a.index, b.index)
        for a, b in product(grid.tiles, repeat=2)
        if sorted(q - p for p, q in zip(a.position, b.position, strict=True)) == [0] * (len(grid.axes) - 1) + [1]
    }
    assert set(seams) == neighbours
    assert len(grid.seams) == len(neighbours)
    for (a, b), seam in seams.items():
        assert cells(seam.box) == cells(grid.tiles[a].box) & cells(grid.tiles[b].box)
        assert seam.span == seam.box[grid.axes.index(seam.axis)]


@given(grids())
@settings(max_examples=60, deadline=None)
def test_pairwise_means_that_at_most_two_tiles_meet_along_any_axis(grid):
    most = max(sum(cell in span for span in row) for row in grid.rows for cell in range(row[-1].stop))
    assert grid.pairwise == (most <= 2)


def test_overlap_above_half_a_tile_is_not_pairwise():
    assert TileGrid.cover({"w": 64}, tile=16, overlap=8).pairwise
    assert not TileGrid.cover({"w": 64}, tile=16, overlap=9).pairwise


def test_a_grid_is_a_value():
    grid, same = (TileGrid.cover(SMALL, tile=32, overlap=8) for _ in range(2))
    assert len(grid.tiles) + len(grid.seams) == 12 + 17  # Looking changes nothing.
    assert grid == same
    assert hash(grid) == hash(same)
    assert grid != TileGrid.cover(SMALL, tile=32, overlap=9)
    assert pickle.loads(pickle.dumps(grid)) == grid
    assert pickle.loads(pickle.dumps(grid.tiles[3])) == grid.tiles[3]
    with pytest.raises(FrozenInstanceError):
        grid.axes = ("h",)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            {"extent": SMALL, "tile": {"h": 32}, "overlap": 8},
            "tile={'h': 32} for axes ('h', 'w'): give one int, or exactly one",
        ),
        ({"extent": SMALL, "tile": 32, "overlap": {"h": 8, "x": 8}}, "overlap={'h': 8, 'x': 8} for axes ('h', 'w')"),
        (
            {"extent": SMALL, "tile": 32, "overlap": 32},
            "overlap=32 with tile=32: overlap must satisfy 0 <= overlap < tile",
        ),
        ({"extent": SMALL, "tile": 32.0, "overlap": 8}, "tile=32.0: must be an int of at least 1"),
        ({"extent": SMALL, "tile": 32, "overlap": 8.5}, "overlap=8.5: must be an int of at least 0"),
        ({"extent": SMALL, "tile": None, "overlap": 8}, "tile=None: must be an int of at least 1"),
        ({"extent": {"h": 0, "w": 4}, "tile": 32}, "extent=0: must be an int of at least 1"),
        ({"extent": (60, 104), "tile": 32}, "extent=(60, 104): give sizes by name"),
        ({"extent": {}, "tile": 32}, "axes=(): a grid has 1 to 3 axes"),
        ({"extent": dict.fromkeys("abcd", 9), "tile": 3}, "axes=('a', 'b', 'c', 'd'): a grid has 1 to 3 axes"),
    ],
)
def test_cover_says_what_is_wrong(call, said):
    with pytest.raises(PlanError) as error:
        TileGrid.cover(**call)
    assert said in str(error.value)
    assert isinstance(error.value, ToolkitError)


@pytest.mark.parametrize(
    ("axes", "rows", "said"),
    [
        (("w",), ((Span(0, 4), Span(5, 8)),), "axis 'w': span 5:8 after 0:4 must start later, leave no gap"),
        (("w",), ((Span(0, 4), Span(0, 8)),), "must start later"),
        (("w",), ((Span(0, 8), Span(2, 6)),), "end no earlier"),
        (("w",), ((Span(1, 8),),), "must start at 0"),
        (("w",), ((Span(0, 0),),), "hold at least one cell"),
        (("w",), ((),), "must start at 0"),
        (("h", "w"), ((Span(0, 4),),), "1 rows of spans for axes ('h', 'w'): give one row per axis"),
        (("w", "w"), ((Span(0, 4),),) * 2, "axes of different names"),
    ],
)
def test_spans_of_your_own_must_cover_in_order(axes, rows, said):
    with pytest.raises(PlanError) as error:
        TileGrid(axes, rows)
    assert said in str(error.value)
    assert len(TileGrid(("w",), ((Span(0, 8), Span(2, 8)),))) == 2


@pytest.mark.parametrize("position", [(1, 4), (3, 0), (-1, 0)])
def test_a_position_outside_has_no_index(position):
    with pytest.raises(PlanError, match=r"must lie inside the grid's shape \(3, 4\)"):
        TileGrid.cover(SMALL, tile=32, overlap=8).index(position)


@pytest.mark.parametrize(
    ("axes", "rows", "words"),
    [
        (("w", "h"), ((Span(0, 4),), (Span(0, 4),)), "t, h and w must come in this order"),
        (["h", "w"], ((Span(0, 4),), (Span(0, 4),)), "axes=.*must be a tuple of axis names"),
        (("h", 2), ((Span(0, 4),), (Span(0, 4),)), "axes=.*must be a tuple of axis names"),
        (("h",), [(Span(0, 4),)], "rows=.*must be a tuple of tuples"),
        (("h",), ([Span(0, 4)],), "rows=.*must be a tuple of tuples"),
        (("h",), ((range(4),),), "must be a tuple of Spans"),
    ],
)
def test_the_fields_of_a_grid_are_tuples_in_order(axes, rows, words):
    with pytest.raises(PlanError, match=words):
        TileGrid(axes, rows)


def test_cover_puts_the_axes_of_an_extent_in_order():
    assert TileGrid.cover({"w": 9, "t": 3, "h": 5}, tile=4).axes == ("t", "h", "w")
