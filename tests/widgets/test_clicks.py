"""Clicks on drawings: what each one selects, in the units of the drawing itself."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
import torch
from support.explored_sweeps import SPACE, measure
from support.replayed import GRID, TILES, shard_run, tile_run

import toolkit as tk
from toolkit.widgets import replay_lanes as lanes
from toolkit.widgets.clickable import Click, Clickable
from toolkit.widgets.replay_selection import NOTHING

MAP, LANES = 0, 1


def drawing_of(shown) -> Clickable:
    """The widget that a browser sends clicks to."""
    return next(one for one in every(shown.widget) if isinstance(one, Clickable))


def every(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every(child)


def click(shown, drawing: int, x: float, y: float) -> None:
    """Send what the script in the page sends."""
    drawing_of(shown)._handle_custom_msg({"drawing": drawing, "x": x, "y": y}, [])


def row(run, kind: str, tile: int) -> int:
    return int(run.trace.index[(run.trace["kind"] == kind) & (run.trace["tile"] == tile)][0])


def at(seconds: float) -> float:
    """Where a moment of a run of 4 s lies in the lanes."""
    return lanes.LEFT + lanes.WIDE * seconds / 4


def lane(rank: int, part: float = 0.85) -> float:
    """A height in a rank's row, with two ranks; 0.5 is where sends and receives are drawn."""
    return lanes.TOP + 24 * (rank + part)


def test_a_click_on_the_map_selects_its_tile_and_beside_it_nothing():
    player = tk.widgets.replay(tile_run())
    texts = [text for text in ElementTree.fromstring(svgs(player)[MAP]).iter("text") if re.match(r"^\d \S$", text.text)]
    places = sorted((float(text.get("x")), float(text.get("y"))) for text in texts)
    assert len(places) == 3
    for tile, (x, y) in enumerate(places):
        click(player, MAP, x, y)
        assert (player.part, player.selection.part) == (tile, tile)
    click(player, MAP, 2, 2)
    assert player.selection == NOTHING


def svgs(shown) -> list[str]:
    return re.findall(r"<svg.*?</svg>", shown.html, re.DOTALL)


def test_a_click_on_the_timeline_selects_the_event_and_goes_to_that_moment():
    run = tile_run()
    player = tk.widgets.replay(run)
    click(player, LANES, at(2.2), lane(0))
    assert player.selection.event == row(run, "decode", 2)
    assert (player.part, player.selection.rank) == (2, 0)
    assert player.time == pytest.approx(2.2)
    click(player, LANES, at(0.9), lane(1))
    assert player.selection.event == row(run, "decode", 1)
    assert player.selection.seams == ((0, 1), (1, 2))
    assert "selected: rank 1: decode tile 1" in player.html


def test_a_brief_event_can_be_missed_by_three_pixels_and_a_thin_bar_is_aimed_at_by_height():
    run = tile_run()
    player = tk.widgets.replay(run)
    click(player, LANES, at(1.0) + 2, lane(0, 0.5))
    assert player.selection.event == row(run, "send", 0)
    assert (player.selection.seams, player.selection.messages) == (((0, 1),), (0,))
    click(player, LANES, at(1.0) + 2, lane(0))
    # There is only a send at that moment, but the decode of tile 0 ended two pixels before, and it is drawn higher.
    assert player.selection.event == row(run, "send", 0)
    click(player, LANES, at(4.0) + 2, lane(0))
    assert player.selection.event == row(run, "receive", 1)
    assert player.time == 4.0


def test_where_nothing_happens_a_click_only_goes_to_the_moment():
    player = tk.widgets.replay(tile_run())
    player.part = 1
    for x, y in ((at(3.9), lane(1)), (at(0.7), lanes.TOP + 48 + lanes.GAP + 50)):
        click(player, LANES, x, y)
        assert lanes.LEFT + lanes.WIDE * player.time / 4 == pytest.approx(x)
        assert player.part == 1


def test_a_click_on_an_arrow_selects_its_messages():
    player = tk.widgets.replay(tile_run())
    player.time = 1.2
    click(player, LANES, lanes.ARROWS_LEFT, lane(0, 1))
    assert (player.selection.messages, player.selection.seams, player.part) == ((0,), ((0, 1),), 0)
    assert player.time == 1.2
    assert 'stroke-width="3.5"' in player.html
    click(player, LANES, lanes.ARROWS_LEFT + 60, lane(0, 1))
    assert player.selection == NOTHING


def test_a_click_on_a_shard_s_timeline_knows_its_shard():
    player = tk.widgets.replay(shard_run())
    click(player, LANES, at(3.0), lane(1))
    assert (player.part, player.selection.rank, player.selection.seams) == (1, 1, ())


def test_a_click_on_the_rehearsal_selects_the_part_in_both():
    run = tile_run()
    record = replace(run.record, what={"rehearsed": True})
    player = tk.widgets.replay(run, tk.Run(None, run.trace, run.memory, run.peaks, record, TILES, 4.0))
    click(player, 3, at(0.9), lane(1))
    assert (player.part, player.selection.event) == (1, -1)
    assert player.time == pytest.approx(0.9)
    click(player, 2, 60, 20)
    assert player.part == 0


def test_a_click_moves_a_microscope_to_the_cell():
    sample = torch.zeros(1, 3, 64, 96)
    view = tk.widgets.microscope(tk.compare(sample + 0.1, sample, GRID, name="tiled", reference_name="whole"), zoom=12)
    view.centre = 30, 50
    region = view.region
    for drawing in range(3):
        view.centre = 30, 50
        click(view, drawing, 12 * 3 + 5, 12 * 2 + 11)
        assert view.centre == (region.h.start + 2, region.w.start + 3)
    before = view.centre
    click(view, 0, 12 * 400, 0)
    assert view.centre == before


def test_a_click_on_a_line_chooses_its_row():
    explorer = tk.widgets.sweep(tk.sweep(measure, SPACE, progress=False))
    lines = {
        int(re.match(r"row (\d+)", path.find("title").text)[1]): [
            tuple(map(int, place)) for place in re.findall(r"[ML](\d+) (\d+)", path.get("d"))
        ]
        for path in ElementTree.fromstring(svgs(explorer)[0]).iter("path")
        if path.find("title") is not None
    }
    assert sorted(lines) == [0, 1, 2, 3, 4, 5]
    for label, places in lines.items():
        own = [place for place in places if sum(place in other for other in lines.values()) == 1]
        if own:
            click(explorer, 0, *own[0])
            assert explorer.point == label
    kept = explorer.point
    click(explorer, 0, 5, 5)
    assert explorer.point == kept


@pytest.mark.parametrize(
    "odd",
    [
        None,
        "x",
        {},
        {"drawing": "0", "x": 1, "y": 1},
        {"drawing": 0, "x": None, "y": 1},
        {"drawing": 9, "x": 1, "y": 1},
    ],
)
def test_a_message_that_is_no_click_is_dropped(odd):
    player = tk.widgets.replay(tile_run())
    player.part = 2
    drawing_of(player)._handle_custom_msg(odd, [])
    assert player.part == 2


def test_a_click_is_what_the_page_said():
    heard = []
    one = Clickable("<svg/>", heard.append)
    one._handle_custom_msg({"drawing": 0, "x": 1, "y": 2.5}, [])
    assert heard == [Click(0, 1.0, 2.5)]
    assert one.value == "<svg/>"
