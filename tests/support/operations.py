"""What a person does with a widget, in whichever front end."""

from __future__ import annotations

import re
import time

from playwright.sync_api import Page, expect

from support.frontend import Board, Server


def sweep_by_keyboard(board: Board) -> None:
    """Pick values, run, brush, and read two points."""
    expect(board.drawing).to_contain_text("no rows yet")
    board.slider("tile").first.press("ArrowRight")  # the lower end: from 8 to 9
    for overlap in ("2", "4"):
        board.box.get_by_role("checkbox", name=overlap, exact=True).press("Space")
    board.box.get_by_role("button", name="Run", exact=True).press("Enter")
    expect(board.drawing).to_contain_text("11 configurations: 11 done; 11 selected")
    # Rows have come one by one, each with a stop of its own: the slider must have followed.
    expect(board.slider("work").last).to_have_attribute("aria-valuenow", "10.0")
    board.slider("work").first.press("ArrowRight")
    expect(board.drawing).to_contain_text("10 selected")
    expect(board.box.locator("pre")).to_have_text("measure(tile=18, overlap=1)")  # the best: 19 takes the least work
    assert "tile 17, overlap 1" in board.choose("point", "ArrowUp")
    expect(board.box.locator("pre")).to_have_text("measure(tile=17, overlap=1)")


def microscope_by_keyboard(board: Board) -> None:
    """Move, zoom, amplify, and go to a seam; pictures follow every key."""
    assert board.sliders() == ["centre h", "centre w", "zoom", "amplification"]
    expect(board.drawing.locator("img")).to_have_count(3)
    for name in ("zoom", "amplification", "centre h"):
        board.press(name, "ArrowRight")
    taken = board.latencies("centre w", ["ArrowLeft"] * 11)
    print("slider to pictures, ms:", *(f"{one:.0f}" for one in taken))
    assert board.choose("error", "ArrowDown") == "signed"
    expect(board.drawing).to_contain_text("white 0")
    board.choose("go to seam", "ArrowDown")
    expect(board.drawing).to_contain_text(re.compile(r"in the box, at h 25\d, w 511"))


def replay_by_keyboard(board: Board) -> None:
    """Move through time, select a shard, step to an event, and play."""
    assert board.sliders() == ["moment", "shard"]
    board.press("moment", "Home")
    expect(board.drawing).to_contain_text("at 0 ms")
    board.press("shard", "ArrowRight")
    expect(board.drawing).to_contain_text("selected: shard 0 on rank 0")
    before = board.drawing.inner_html()
    board.click("Next event")
    expect(board.drawing).to_contain_text("selected: rank 0: ")
    expect(board.drawing).not_to_have_js_property("innerHTML", before)
    taken = board.latencies("moment", ["ArrowRight"] * 11)
    print("slider to moment, ms:", *(f"{one:.0f}" for one in taken))
    board.box.locator(".widget-play button").first.click()
    at = int(board.slider("moment").get_attribute("aria-valuenow").partition(".")[0])
    moved = f"Number(arguments[0].getAttribute('aria-valuenow')) > {at + 3}".replace("arguments[0]", "handle")
    board.page.wait_for_function(f"handle => {moved}", arg=board.slider("moment").element_handle())
    board.box.locator(".widget-play button").first.click()


def replay_by_mouse(board: Board) -> None:
    """Click on a shard of the map, and on an event of the timeline."""
    on_map, lanes = board.drawing.locator("svg").nth(0), board.drawing.locator("svg").nth(1)
    on_map.locator("text", has_text=re.compile(r"^3 ")).click()
    expect(board.drawing).to_contain_text("selected: shard 3 on rank 3")
    name = lanes.locator("text", has_text="rank 1").bounding_box()
    assert name is not None
    board.page.mouse.click(name["x"] + name["width"] + 14, name["y"] + name["height"] / 2)
    expect(board.drawing).to_contain_text("selected: rank 1: ")


def microscope_by_mouse(board: Board) -> None:
    """Click three cells above the middle of the second picture: that cell is the centre then."""
    visible = re.search(r"h (\d+):(\d+), w (\d+):(\d+) px", board.drawing.inner_text())
    assert visible is not None
    top, bottom, left, right = map(int, visible.groups())
    picture = board.drawing.locator("img").nth(1)
    box = picture.bounding_box()
    assert box is not None
    cell = box["height"] / (bottom - top)
    picture.click(position={"x": box["width"] / 2, "y": box["height"] / 2 - 3 * cell})
    expect(board.drawing).to_contain_text(f"in the box, at h {(top + bottom) // 2 - 3}, w {(left + right) // 2}:")


def replay_figure(page: Page) -> None:
    """Play a figure's own frames to their end, and go back by its slider; no kernel takes part."""
    rendered = page.locator(".jp-RenderedPlotly")
    rendered.scroll_into_view_if_needed()
    rendered.hover()  # until then, the front end shows the PNG
    figure = page.locator(".js-plotly-plot")
    figure.locator(".updatemenu-button", has_text="Play").click()
    expect(figure.locator(".textpoint").last).to_contain_text("4 done")
    figure.locator(".slider-rail-touch-rect").click(position={"x": 2, "y": 5})
    expect(figure.locator(".textpoint").last).to_contain_text("At 0 ms")


def start_a_run(board: Board, server: Server) -> None:
    """Press Run, and wait until two workers are at it."""
    board.click("Run")
    expect(board.drawing).to_contain_text("s left", timeout=30_000)
    assert len(server.workers()) == 2


def cancel_within_2_s(board: Board, server: Server) -> None:
    """Press Cancel: the run ends, and no worker stays."""
    begin = time.monotonic()
    board.click("Cancel")
    expect(board.drawing).to_contain_text("cancelled after", timeout=2_000)
    while server.workers():
        assert time.monotonic() - begin < 2
