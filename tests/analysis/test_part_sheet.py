"""Maps of parts: every part has a place, and blocks show what most deserves to be seen."""

from __future__ import annotations

import numpy as np
import pytest
from geometry.grids import grids
from hypothesis import given, settings

from toolkit.analysis.part_sheet import MOST_CELLS, Sheet, pooled, sheet_of_grid, sheet_of_layers, small
from toolkit.geometry import Span, TileGrid


def places(sheet: Sheet) -> dict[int, tuple[float, float, float, float]]:
    """Left, top, right and bottom of each part."""
    found: dict[int, tuple[float, float, float, float]] = {}
    for (row, column), part in np.ndenumerate(sheet.cells):
        if part >= 0:
            left, top, *_ = found.get(int(part), (sheet.x[column], sheet.y[row]))
            found[int(part)] = (left, top, sheet.x[column + 1], sheet.y[row + 1])
    return found


@settings(max_examples=40, deadline=None)
@given(grids())
def test_every_tile_has_one_cell_as_large_as_its_core(grid):
    sheet = sheet_of_grid(grid)
    assert sorted(sheet.cells[sheet.cells >= 0].tolist()) == list(range(len(grid)))
    across = "w" if "w" in grid.axes else grid.axes[-1]
    for tile in grid.tiles:
        left, _, right, _ = places(sheet)[tile.index]
        assert right - left == len(tile.core[across])


def test_positions_in_time_are_panels_four_in_a_row():
    grid = TileGrid.cover({"t": 5, "h": 4, "w": 4}, {"t": 1, "h": 4, "w": 2})
    sheet = sheet_of_grid(grid)
    assert sheet.x == (0, 2, 4, 5, 7, 9, 10, 12, 14, 15, 17, 19)
    assert sheet.y == (0, 4, 5, 9)
    assert sheet.cells[0].tolist() == [0, 1, -1, 2, 3, -1, 4, 5, -1, 6, 7]
    assert sheet.cells[2].tolist() == [8, 9] + [-1] * 9
    assert sheet.notes[4] == (0, 5, "t 4:5")


def test_layers_lie_in_the_rows_of_their_ranks():
    stages = [(0, Span(0, 3)), (1, Span(3, 4)), (0, Span(4, 6))]
    sheet = sheet_of_layers(["rank 0", "rank 1"], stages)
    assert places(sheet) == {0: (0, 0, 3, 1), 1: (3, 1, 4, 2), 2: (4, 0, 6, 1)}


@pytest.mark.parametrize("side", [3, MOST_CELLS, MOST_CELLS + 1, 200])
def test_blocks_show_the_largest_value(side):
    sheet = sheet_of_grid(TileGrid.cover({"h": 2 * side, "w": 2 * side}, tile=2))
    values = np.ones(side * side, np.uint8)
    values[-1] = 5
    blocks, shown = small(sheet), pooled(sheet, values)
    assert shown.shape == blocks.cells.shape
    assert max(shown.shape) <= MOST_CELLS
    assert (blocks.x[0], blocks.x[-1], blocks.y[-1]) == (0, 2 * side, 2 * side)
    assert shown[-1, -1] == 5
    assert (shown == 1).sum() == shown.size - 1
