"""What a person does with a widget, in whichever front end."""

from __future__ import annotations

import re
import time

from playwright.sync_api import expect

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
