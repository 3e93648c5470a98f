"""Widgets in JupyterLab, by keyboard and by mouse: views follow, runs end, no process stays behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from support.frontend import ROOT, VIEWPORT, Board, Guard, Server, shoot
from support.operations import (
    cancel_within_2_s,
    microscope_by_keyboard,
    microscope_by_mouse,
    replay_by_keyboard,
    replay_by_mouse,
    replay_figure,
    start_a_run,
    sweep_by_keyboard,
)

from toolkit.geometry.drawing.palette import contrast

IDLE = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
COLOURS = """box => ["color", "backgroundColor"].map(name => "#" +
    getComputedStyle(box)[name].match(/\\d+/g).slice(0, 3).map(n => (+n).toString(16).padStart(2, "0")).join(""))"""
THEME = "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})"


@pytest.fixture(scope="module")
def page(server: Server, browser: Browser) -> Iterator[Page]:
    """The notebook in JupyterLab, with all cells run."""
    context = browser.new_context(viewport=VIEWPORT)
    guard, one = Guard(context), context.new_page()
    one.goto(f"{server.address}/lab/tree/page.ipynb?reset&token={server.token}")
    one.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    one.wait_for_function(IDLE, timeout=60_000)
    one.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    expect(one.get_by_role("button", name="Cancel")).to_have_count(2, timeout=60_000)
    yield one
    assert guard.refused == []
    assert guard.errors == []
    context.close()


def test_every_slider_follows_the_keyboard(page):
    explorer = Board(page, "Schedule")
    assert explorer.sliders() == ["stages", "branches", "chunks", "requests", "hop"]
    for name in explorer.sliders():
        explorer.press(name, "ArrowRight")
    expect(explorer.drawing).to_contain_text("Schedule.requests(stages=4, branches=3, requests=3, chunks=3)")
    expect(explorer.drawing).to_contain_text("hop 0.01")
    assert explorer.choose("kind", "ArrowUp") == "looped"
    expect(explorer.drawing).to_contain_text("Schedule.looped(stages=4, branches=3, chunks=3)")
    shoot(page, "lab-schedule")


def test_a_thousand_tiles_follow_every_key(page):
    explorer = Board(page, "Tiles")
    expect(explorer.drawing).to_contain_text("961 tiles")
    expect(explorer.drawing).to_contain_text("ranks=4)")
    taken = explorer.latencies("ranks", ["ArrowRight"] * 6 + ["ArrowLeft"] * 5)
    print("slider to drawing, ms:", *(f"{one:.0f}" for one in taken))
    expect(explorer.drawing).to_contain_text("ranks=5)")


def test_every_control_of_the_tiles_follows_the_keyboard(page):
    explorer = Board(page, "Tiles")
    assert explorer.sliders() == ["tile h", "tile w", "overlap", "ranks"]
    for name in explorer.sliders():
        explorer.press(name, "ArrowRight")
    assert explorer.choose("policy", "ArrowDown") == "round_robin"
    assert explorer.choose("blend", "ArrowDown") == "cosine"
    expect(explorer.drawing).to_contain_text("tk.Blend.cosine(), tk.Assignment.round_robin(grid, ranks=6)")
    explorer.press("overlap", "End")
    expect(explorer.drawing.get_by_role("alert")).to_contain_text("overlap")
    explorer.press("overlap", "Home")
    expect(explorer.drawing.get_by_role("img")).to_be_visible()
    shoot(page, "lab-tiles")


def test_run_shows_seams_beside_the_prediction(page):
    board = Board(page, "Tiles", nth=1)
    board.click("Run")
    expect(board.box.get_by_text("Measured", exact=True)).to_be_visible(timeout=60_000)
    seams = board.box.locator("img:not(.tk-still)")
    assert seams.evaluate("image => image.naturalWidth") > 300
    assert "Absolute error of 4 tiles over 2 ranks" in seams.get_attribute("alt")
    seams.scroll_into_view_if_needed()
    shoot(page, "lab-tried")


def test_cancel_ends_a_run_within_2_s_and_leaves_no_worker(page, server):
    board = Board(page, "Run")
    start_a_run(board, server)
    shoot(page, "lab-live")
    cancel_within_2_s(board, server)
    expect(board.drawing.get_by_role("row")).to_have_count(3)


def test_a_sweep_is_picked_run_brushed_and_read_by_keyboard(page):
    sweep_by_keyboard(Board(page, "Sweep"))
    shoot(page, "lab-sweep")


def test_the_microscope_follows_the_keyboard(page):
    microscope_by_keyboard(Board(page, "Microscope"))
    microscope_by_mouse(Board(page, "Microscope"))
    shoot(page, "lab-microscope")


def test_a_replay_follows_keyboard_and_mouse_and_plays(page):
    replay_by_keyboard(Board(page, "Replay"))
    replay_by_mouse(Board(page, "Replay"))
    shoot(page, "lab-replay")


def test_a_figure_replays_without_the_kernel(page):
    replay_figure(page)
    shoot(page, "lab-replay-figure")


def test_both_themes(page):
    for theme in ("Dark", "Light"):
        page.evaluate(THEME, f"JupyterLab {theme}")
        expect(page.locator(f"body[data-jp-theme-light={str(theme == 'Light').lower()}]")).to_be_attached()
        for heading in ("Schedule", "Tiles", "Sweep", "Microscope", "Replay"):
            board = Board(page, heading)
            ink, paper = board.drawing.locator(".tk-view").first.evaluate(COLOURS)
            assert contrast(ink, paper) > 7, (theme, heading)
            board.box.scroll_into_view_if_needed()
            shoot(page, f"lab-{theme.lower()}-{heading.lower()}")


def test_a_notebook_that_is_not_trusted_shows_its_plans(server, browser):
    shutil.copy(ROOT / "notebooks" / "01_tiles_and_blends.ipynb", server.folder / "notebooks")
    page = browser.new_page(viewport=VIEWPORT)
    page.goto(f"{server.address}/lab/tree/01_tiles_and_blends.ipynb?reset&token={server.token}")
    still = page.locator(".jp-OutputArea-output img[src^='data:image/svg+xml']").first
    still.scroll_into_view_if_needed(timeout=30_000)
    expect(still).to_be_visible()
    assert still.evaluate("image => image.naturalWidth") > 100
    shoot(page, "lab-untrusted")
    page.close()


def test_a_stored_notebook_opened_again_shows_the_picture_of_a_widget(server, browser):
    server.trust(ROOT / "notebooks" / "05_schedules.ipynb")
    page = browser.new_page(viewport=VIEWPORT)
    page.goto(f"{server.address}/lab/tree/05_schedules.ipynb?reset&token={server.token}")
    drawing = page.locator(".jp-OutputArea-output .tk-view", has_text="measured step")
    drawing.scroll_into_view_if_needed(timeout=30_000)
    expect(drawing.get_by_role("img")).to_be_visible()
    expect(page.get_by_text("Error displaying widget")).to_have_count(0)
    shoot(page, "lab-stored")
    page.close()
