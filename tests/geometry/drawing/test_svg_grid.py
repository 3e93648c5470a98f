"""The picture of a grid, read back from its markup: every core in its rank's colour, with its rank's number."""

import re
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from geometry.grids import grids
from hypothesis import given, settings

from toolkit.geometry import Assignment, Span, TileGrid
from toolkit.geometry.drawing.palette import rank_colour, text_on
from toolkit.geometry.drawing.svg_axis import Axis
from toolkit.geometry.drawing.svg_grid import MOST_PANELS, MOST_TILES, draw_grid

RECT = re.compile(r"M(\d+) (\d+)h(\d+)v(\d+)h-\d+z")


@dataclass
class Drawing:
    """What a grid's picture shows."""

    cores: list[tuple[tuple[int, ...], str | None, str]]  # rectangle, fill, title
    numbers: list[tuple[float, float, str, dict[str, str]]]
    hatched: list[tuple[int, ...]]
    box: list[tuple[int, ...]]
    labels: list[str]
    torn: bool
    size: tuple[int, int]


def rectangles(data: str) -> list[tuple[int, ...]]:
    return [tuple(map(int, found)) for found in RECT.findall(data)]


def read(markup: str) -> Drawing:
    root = ElementTree.fromstring(markup)
    cores, numbers, labels = [], [], []
    over = {node.get("class"): node for part in root.findall("g[@class='tk-over']") for node in part}
    for part in root.findall("g"):
        kind = part.get("class", "")
        if kind.startswith("tk-number"):
            numbers += [(float(t.get("x")), float(t.get("y")), t.text, dict(part.attrib)) for t in part]
        elif kind in ("", "tk-tile"):
            cores += [(rectangles(p.get("d"))[0], part.get("fill"), p.findtext("title")) for p in part]
        elif kind == "tk-label":
            labels += [t.text for t in part.iter("text")]
    for part in root.findall("path"):  # Without titles, cores of one colour are one path.
        cores += [(rectangle, part.get("fill"), "") for rectangle in rectangles(part.get("d"))]
    labels += [t.text for t in root.findall("text")]
    hatched = rectangles(over["tk-hatch"].get("d")) if "tk-hatch" in over else []
    box = rectangles(over["tk-box"].get("d")) if "tk-box" in over else []
    size = int(root.get("width")), int(root.get("height"))
    return Drawing(cores, numbers, hatched, box, labels, "tk-torn" in over, size)


def drawn(grid: TileGrid, owners: tuple[int, ...] | None = None) -> Drawing:
    return read(str(draw_grid(grid.axes, grid.rows, owners=owners, summary="a grid").drawing))


def number_in(rectangle: tuple[int, ...], drawing: Drawing) -> list[tuple[str, dict[str, str]]]:
    x, y, width, height = rectangle
    return [(n, style) for (tx, ty, n, style) in drawing.numbers if x < tx < x + width and y < ty < y + height]


@pytest.mark.parametrize("extent", [{"w": 104}, {"h": 60, "w": 104}, {"t": 40, "h": 60, "w": 70}])
@pytest.mark.parametrize("ranks", [2, 5, 20])
def test_each_core_has_its_rank_as_colour_and_number(extent, ranks):
    grid = TileGrid.cover(extent, tile=32, overlap=8)
    owners = Assignment.round_robin(grid, ranks).owners
    drawing = drawn(grid, owners)
    assert len(drawing.cores) == len(drawing.numbers) == len(grid)
    for rectangle, fill, title in drawing.cores:
        ((number, style),) = number_in(rectangle, drawing)
        assert fill == rank_colour(int(number)) == style["stroke"]
        assert style["fill"] == text_on(fill)
        tile = grid.tiles[int(re.match(r"tile (\d+): ", title)[1])]
        assert owners[tile.index] == int(number)
        spans = dict(list(tile.spans.items())[-2:])
        assert title.endswith(": " + ", ".join(f"{axis} {span}" for axis, span in spans.items()))


def test_a_grid_alone_is_numbered_by_tile():
    drawing = drawn(TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8))
    assert sorted(int(number) for *_, number, _ in drawing.numbers) == list(range(12))
    assert {style["class"] for *_, style in drawing.numbers} == {"tk-number tk-index"}
    assert [int(number_in(r, drawing)[0][0]) for r, _, _ in sorted(drawing.cores, key=lambda c: c[0][1::-1])] == list(
        range(12)
    )


def test_lines_lie_where_the_plan_says():
    # Four tiles of 112 cells over 400 pixels: one pixel a cell, after 8 pixels of margin.
    drawing = drawn(TileGrid.cover({"w": 400}, tile=112, overlap=16), owners=(0, 1, 2, 3))
    assert [r[::2] for r, *_ in drawing.cores] == [(8, 104), (112, 96), (208, 96), (304, 104)]
    assert [r[::2] for r in drawing.hatched] == [(8 + start, 16) for start in (96, 192, 288)]
    assert [r[::2] for r in drawing.box] == [(8 + 192, 112)]
    assert drawing.labels == ["400", "0", "96", "192", "288", "w 400", "overlap", "tile 2, overlaps included"]
    assert not drawing.torn


@given(grids(most=4))
@settings(max_examples=60, deadline=None)
def test_cores_fill_each_panel_and_stay_inside_the_picture(grid):
    drawing = drawn(grid)
    panels = min(grid.shape[0], MOST_PANELS) if len(grid.axes) == 3 else 1
    assert len(drawing.cores) == len(grid)
    left, top = (min(r[place] for r, *_ in drawing.cores) for place in (0, 1))
    right, bottom = (max(r[place] + r[place + 2] for r, *_ in drawing.cores) for place in (0, 1))
    assert left >= 0
    assert top >= 0
    assert right <= drawing.size[0]
    assert bottom <= drawing.size[1]
    area = sum(width * height for (_, _, width, height), *_ in drawing.cores)
    wide, high = (right - left, bottom - top) if panels == 1 else (0, 0)
    assert panels > 1 or area == wide * high


def test_without_overlap_nothing_is_hatched():
    drawing = drawn(TileGrid.cover({"h": 64, "w": 64}, tile=32))
    assert (drawing.hatched, drawing.box) == ([], [])
    assert not any("overlap" in label for label in drawing.labels)


def test_axes_are_named_with_their_extent():
    labels = drawn(TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)).labels
    assert {"h 60", "w 104"} <= set(labels)
    assert {"0", "17", "34", "60", "24", "48", "72", "104"} <= set(labels)


def test_three_axes_are_panels_over_the_slowest():
    grid = TileGrid.cover(
        {"t": 81, "h": 60, "w": 104}, tile={"t": 9, "h": 32, "w": 32}, overlap={"t": 4, "h": 8, "w": 8}
    )
    picture = draw_grid(grid.axes, grid.rows, summary="a grid")
    drawing = read(str(picture.drawing))
    assert [label for label in drawing.labels if label.startswith("t ")] == ["t 0:9", "t 4:13", "t 9:18", "t 14:23"]
    assert sorted(int(number) for *_, number, _ in drawing.numbers) == list(range(48))
    assert picture.notes == ("drawn: the first 4 of 16 tiles along t",)


def test_what_is_not_drawn_is_said():
    grid = TileGrid.cover({"h": 3000, "w": 50}, tile=10)
    picture = draw_grid(grid.axes, grid.rows, summary="a grid")
    drawing = read(str(picture.drawing))
    assert picture.notes == ("drawn: the first 20 of 300 tiles along h",)
    assert drawing.torn
    assert len(drawing.cores) == MOST_TILES * 5
    assert {"h 3000", "200"} <= set(drawing.labels)


def test_tiles_keep_their_index_where_others_are_not_drawn():
    grid = TileGrid.cover({"h": 90, "w": 900}, tile=12, overlap=2)
    drawing = drawn(grid)
    assert grid.shape == (9, 90)
    assert {int(number) for *_, number, _ in drawing.numbers} == {90 * i + j for i in range(9) for j in range(20)}
    assert f"tile {grid.index((4, 10))}, overlaps included" in drawing.labels
    edge = max(x + width for (x, _, width, _), *_ in drawing.cores)
    assert max(x + width for x, _, width, _ in drawing.hatched) == edge  # The last overlap is half drawn.
    owners = tuple(tile.index % 7 for tile in grid.tiles)
    rows = sorted(drawn(grid, owners).cores, key=lambda core: core[0][1::-1])
    assert [fill for _, fill, _ in rows] == [rank_colour((90 * i + j) % 7) for i in range(9) for j in range(20)]


def test_a_picture_that_is_not_to_scale_says_so():
    grid = TileGrid.cover({"h": 8, "w": 2000}, tile={"h": 2, "w": 500})
    assert draw_grid(grid.axes, grid.rows, summary="a grid").notes == ("h and w have different scales",)
    assert draw_grid(("h", "w"), TileGrid.cover({"h": 60, "w": 104}, 32, 8).rows, summary="a grid").notes == ()


def test_numbers_that_cannot_be_read_are_left_out():
    grid = TileGrid(("w",), ((Span(0, 1000), Span(1000, 1001), Span(1001, 2000)),))
    assert [number for *_, number, _ in drawn(grid).numbers] == ["0", "2"]


def test_labels_along_an_axis_do_not_touch():
    axis = Axis.first(20, "w", row=tuple(Span(i, i + 1) for i in range(20)))
    for length in (40, 100, 400):
        cells = sorted(Axis(axis.name, axis.spans, axis.cores, (), 20, 20, length).labelled(lambda _: 20))
        assert cells[0] == (0, 0)
        assert cells[-1] == (length, 20)
        assert all(b[0] - a[0] >= 20 for a, b in pairwise(cells))
