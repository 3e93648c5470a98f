"""The same notebook in Voila: another front end, without cells, with the same widgets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from support.frontend import VIEWPORT, Board, Guard, Server, shoot
from support.operations import (
    cancel_within_2_s,
    microscope_by_keyboard,
    microscope_by_mouse,
    replay_by_keyboard,
    replay_by_mouse,
    start_a_run,
    sweep_by_keyboard,
)

VOILA_S_OWN = ("fontawesome", "mathjax")
"""Hosts that Voila's template fetches from; the page works without them."""


PLOTLY_S_OWN = ["r.setData is not a function"]
"""What plotly's renderer raises in Voila once it has drawn a figure, whoever made it: Voila keeps no pictures."""


@pytest.fixture(scope="module")
def page(server: Server, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=VIEWPORT)
    guard, one = Guard(context), context.new_page()
    one.goto(f"{server.address}/voila/render/page.ipynb?token={server.token}", timeout=60_000)
    expect(one.get_by_role("button", name="Cancel")).to_have_count(2, timeout=60_000)
    yield one
    assert [address for address in guard.refused if not any(word in address for word in VOILA_S_OWN)] == []
    assert [error for error in guard.errors if error not in PLOTLY_S_OWN] == []
    context.close()


def test_sliders_and_lists_follow_the_keyboard(page):
    board = Board(page, "Schedule")
    for name in board.sliders():
        board.press(name, "ArrowRight")
    assert board.choose("kind", "ArrowUp") == "looped"
    expect(board.drawing).to_contain_text("Schedule.looped(stages=4, branches=3, chunks=3)")
    shoot(page, "voila")


def test_every_slider_of_the_tiles_follows(page):
    board = Board(page, "Tiles")
    for name in board.sliders():
        board.press(name, "ArrowRight")
    assert board.choose("policy", "ArrowDown") == "round_robin"
    expect(board.drawing).to_contain_text("tk.Assignment.round_robin(grid, ranks=")


def test_a_sweep_is_picked_run_brushed_and_read_by_keyboard(page):
    sweep_by_keyboard(Board(page, "Sweep"))
    shoot(page, "voila-sweep")


def test_the_microscope_follows_the_keyboard(page):
    microscope_by_keyboard(Board(page, "Microscope"))
    microscope_by_mouse(Board(page, "Microscope"))
    shoot(page, "voila-microscope")


def test_a_replay_follows_keyboard_and_mouse_and_plays(page):
    replay_by_keyboard(Board(page, "Replay"))
    replay_by_mouse(Board(page, "Replay"))
    shoot(page, "voila-replay")


def test_cancel_ends_a_run_within_2_s_and_leaves_no_worker(page, server):
    board = Board(page, "Run")
    start_a_run(board, server)
    cancel_within_2_s(board, server)
    shoot(page, "voila-cancelled")
