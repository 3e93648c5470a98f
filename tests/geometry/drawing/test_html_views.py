"""The notebook form of every value: small, the same twice, legible without scripts, styles or sight."""

import re
from xml.etree import ElementTree

import pytest
import torch

from toolkit.geometry import Assignment, Blend, ShardPlan, Span, TileGrid, TilePlan
from toolkit.geometry.drawing.html_views import MOST_ROWS
from toolkit.geometry.drawing.palette import rank_colour
from toolkit.geometry.drawing.svg_blend import rising
from toolkit.numerics.cascade import blend_into
from toolkit.numerics.ramps import rising as weights

LIMIT = 50_000
GRID = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)


def plan(grid: TileGrid, ranks: int, root: int = 0) -> TilePlan:
    return TilePlan(grid, Blend.linear(), Assignment.round_robin(grid, ranks), root)


def line(tiles: int) -> TileGrid:
    return TileGrid(("w",), (tuple(Span(i, i + 1) for i in range(tiles)),))


@pytest.fixture(scope="module")
def values() -> dict[str, object]:
    """Ordinary values, and those that would make the largest pictures and tables."""
    square = TileGrid.cover({"h": 302, "w": 302}, tile=3, overlap=2)
    video = TileGrid.cover({"t": 400, "h": 400, "w": 400}, tile=16, overlap=9)
    widest = TileGrid(("a" * 60, "b" * 60), line(10**5).rows + line(1).rows)
    return {
        "grid": GRID,
        "plan": plan(GRID, 5),
        "assignment": Assignment.balanced(GRID, 5),
        **{repr(blend): blend for blend in (Blend.linear(), Blend.cosine(), Blend.crop(), Blend.diffusers())},
        "single": plan(TileGrid.cover({"h": 1, "w": 1}, tile=1), 1),
        "idle": plan(GRID, 1000, root=999),
        "line": line(10**5),
        "line plan": plan(line(10**4), 1000),
        "square": square,
        "square plan": plan(TileGrid.cover({"h": 102, "w": 102}, tile=3, overlap=2), 1000),
        "video": video,
        "video plan": plan(TileGrid.cover({"t": 60, "h": 90, "w": 160}, tile=16, overlap=9), 10**5),
        "wide": widest,
        "shards": ShardPlan(h=2, w=3),
        "recomputed": ShardPlan(w=7, borders="recompute"),
        "one shard": ShardPlan(),
        "many shards": ShardPlan(h=300, w=200, root=59_999),
        "assignment of many": Assignment.round_robin(line(10**5), 1000),
        "assignment of more": Assignment(tuple(range(10**5)), 10**5),
    }


@pytest.fixture(scope="module")
def pages(values) -> dict[str, str]:
    return {name: value._repr_html_() for name, value in values.items()}


def test_every_form_is_small_and_the_same_twice(values, pages):
    assert pages == {name: value._repr_html_() for name, value in values.items()}
    assert (len(values["square"]), len(values["line"])) == (300 * 300, 10**5)
    assert max((len(page.encode()), name) for name, page in pages.items())[0] < LIMIT


def test_every_form_is_whole_markup_without_scripts_or_fetching(pages):
    for name, page in pages.items():
        root = ElementTree.fromstring(page)
        assert root.get("class") == "tk-view", name
        page = re.sub(r'<img class="tk-still" src="data:[^"]*"', "", page)
        assert not re.search(r"<script|http|@import|<link|<img|\bon\w+=|javascript:", page), name
        assert set(re.findall(r"url\(([^)]*)\)", page)) <= {f"#{found}" for found in re.findall(r' id="([^"]+)"', page)}


def test_every_picture_has_words(pages):
    for name, page in pages.items():
        (picture,) = ElementTree.fromstring(page).iter("svg")
        assert picture.get("role") == "img", name
        assert len(picture.get("aria-label")) > 20, name


def test_no_two_pictures_share_an_id(pages):
    ids = [found for page in set(pages.values()) for found in re.findall(r' id="([^"]+)"', page)]
    assert len(ids) == len(set(ids)) > 5


def test_rules_touch_nothing_outside():
    style = ElementTree.fromstring(GRID._repr_html_()).findtext("style")
    style = style.replace("@media(prefers-color-scheme:dark){", "")
    selectors = [one for rule in re.findall(r"([^{}]+)\{", style) for one in rule.split(",")]
    assert len(selectors) > 20
    assert all(re.search(r"\.tk-view\b", selector) for selector in selectors)


def test_the_page_s_own_theme_comes_first():
    style = ElementTree.fromstring(GRID._repr_html_()).findtext("style")
    assert "--tk-ink:var(--jp-content-font-color1,var(--vscode-editor-foreground,#" in style
    for mark in ("prefers-color-scheme:dark", "[data-jp-theme-light=false] .tk-view", ".vscode-dark .tk-view"):
        assert mark in style


def cells(page: str) -> list[list[str]]:
    rows = ElementTree.fromstring(page).iter("tr")
    return [["".join(cell.itertext()) for cell in row] for row in rows]


def test_the_table_of_a_grid():
    assert cells(GRID._repr_html_()) == [
        ["axis", "extent", "tiles", "tile", "overlap"],
        ["h", "60", "3", "26", "9"],
        ["w", "104", "4", "32", "8"],
    ]
    slivers = TileGrid.strided({"w": 50}, tile=32, stride=24)
    assert cells(slivers._repr_html_())[1] == ["w", "50", "3", "2 to 32", "2 to 8"]


def test_the_table_of_a_plan():
    two = TilePlan(TileGrid(("w",), ((Span(0, 1200), Span(800, 2000)),)), Blend.cosine(), Assignment((0, 2), 4), root=2)
    page = two._repr_html_()
    assert cells(page) == [
        ["rank", "tiles", "cells computed", "of all", "sent", "received", ""],
        ["0", "1", "1,200", "50.0 %", "1,200", "0", ""],
        ["1", "0", "0", "0.0 %", "0", "0", "idle"],
        ["2", "1", "1,200", "50.0 %", "0", "1,200", "root"],
        ["3", "0", "0", "0.0 %", "0", "0", "idle"],
    ]
    words = "2 tiles over 4 ranks; Blend.cosine(), finished in shares; 1.20x the work, imbalance 2.00; output on rank 2"
    assert words in page


def test_the_table_of_shards():
    assert cells(ShardPlan(h=2, w=3, root=4)._repr_html_()) == [
        ["rank", "part of h", "part of w", "neighbours", ""],
        ["0", "0:50 %", "0:33 %", "1 right, 3 below", ""],
        ["1", "0:50 %", "33:67 %", "0 left, 2 right, 4 below", ""],
        ["2", "0:50 %", "67:100 %", "1 left, 5 below", ""],
        ["3", "50:100 %", "0:33 %", "0 above, 4 right", ""],
        ["4", "50:100 %", "33:67 %", "1 above, 3 left, 5 right", "root"],
        ["5", "50:100 %", "67:100 %", "2 above, 4 left", ""],
    ]
    assert cells(ShardPlan()._repr_html_())[1] == ["0", "0:100 %", "0:100 %", "none", "root"]


def test_the_table_of_many_shards_sums_up_the_rest():
    rows = cells(ShardPlan(h=300, root=200)._repr_html_())
    assert len(rows) == 1 + MOST_ROWS + 1
    assert rows[1][1] == "0:1 of 300"
    assert rows[-1] == ["284 more", "", "", "", "root is 200"]


def test_the_lattice_is_drawn_in_the_colours_of_its_ranks():
    page = ElementTree.fromstring(ShardPlan(h=2, w=2)._repr_html_())
    assert [title.text for title in page.iter("title")][:2] == [
        "shard 0: h 0:50 %, w 0:50 %",
        "shard 1: h 0:50 %, w 50:100 %",
    ]
    assert {f"{axis} 100 %" for axis in "hw"} <= {text.text for text in page.iter("text")}
    assert "drawn: the first 20 of 300 shards along h" in ShardPlan(h=300)._repr_html_()


def test_shards_say_in_a_sentence_what_is_sent():
    exchanged, ring, alone = (
        ShardPlan(h=2, **how)._repr_html_() for how in ({}, {"attention": "ring"}, {"borders": "recompute"})
    )
    assert "exchanged before each layer" in exchanged
    assert "gathers all keys and values" in exchanged
    assert "around a ring" in ring
    assert "nothing is sent before the result" in alone
    assert "attention" not in alone


def test_a_chip_is_a_rank_in_its_colour():
    chips = ElementTree.fromstring(plan(GRID, 10)._repr_html_()).findall(".//span[@class='tk-chip']")
    assert [chip.text for chip in chips] == list(map(str, range(10)))
    assert all(f"background:{rank_colour(rank)};" in chip.get("style") for rank, chip in enumerate(chips))


def test_a_table_of_many_ranks_sums_up_the_rest():
    rows = cells(plan(GRID, 1000, root=0)._repr_html_())
    assert len(rows) == 1 + MOST_ROWS + 1
    assert rows[-1] == ["984 more", "0", "0", "0.0 %", "0", "0", "984 idle"]
    rows = cells(plan(line(100), 20)._repr_html_())
    assert rows[-1] == ["4 more", "20", "20", "20.0 %", "20", "0", ""]
    rows = cells(Assignment.round_robin(line(100), 20)._repr_html_())
    assert rows[-1] == ["4 more", "20", "20.0 %", ""]


def test_the_table_of_an_assignment():
    assert cells(Assignment((0, 2, 2, 0) * 5, 3)._repr_html_()) == [
        ["rank", "tiles", "of all", "which"],
        ["0", "10", "50.0 %", "0 3 4 7 8 11 12 15 ..."],
        ["1", "0", "0.0 %", "idle"],
        ["2", "10", "50.0 %", "1 2 5 6 9 10 13 14 ..."],
    ]


def test_an_assignment_s_strip_shows_owners_in_order():
    owners = (3, 1, 4, 1, 5, 9, 2, 6)
    texts = ElementTree.fromstring(Assignment(owners, 10)._repr_html_()).findall(".//g[@class='tk-number']/text")
    assert [int(t.text) for t in sorted(texts, key=lambda t: float(t.get("x")))] == list(owners)
    page = Assignment.round_robin(line(1000), 7)._repr_html_()
    assert "drawn: the first 160 of 1000 tiles." in page


def test_a_blend_says_what_its_merge_does():
    assert "the order of tiles does not matter" in Blend.linear()._repr_html_()
    assert "cut in the middle" in Blend.crop()._repr_html_()
    assert "the order of tiles matters" in Blend.diffusers()._repr_html_()
    assert "3/8 upper left" in Blend.diffusers()._repr_html_()


def test_axis_names_cannot_break_out():
    page = plan(TileGrid.cover({"<b>&'\"": 9, "</svg>": 9}, tile=4, overlap=1), 2)._repr_html_()
    root = ElementTree.fromstring(page)
    assert not list(root.iter("b"))[1:]
    assert "<b>&'\" 9" in [text.text for text in root.iter("text")]


@pytest.mark.parametrize("merge", ["window", "cascade"])
def test_drawn_ramps_are_those_of_the_merges(merge):
    if merge == "window":
        for ramp in ("linear", "cosine", "crop"):
            assert rising(ramp, "window", size=7) == pytest.approx(weights(ramp, 7).tolist())
    else:
        tile, before = (torch.full((1, 1, 9, 1), value, dtype=torch.float64) for value in (1, 0))
        blend_into(tile, before, dim=-2, size=5)
        assert rising("linear", "cascade", size=5) == pytest.approx(tile.flatten()[:5].tolist())
