"""The page of a report in a browser without a network: on a light screen, a dark screen and paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from support.frontend import SCREENSHOTS, Guard
from support.reported import SHARDS, TILES, reported, video

import toolkit as tk
from toolkit.geometry.drawing.palette import contrast

SIZES = "[...document.images].map(image => image.complete ? image.naturalWidth : 0)"
COLOURS = """box => ["color", "backgroundColor"].map(name => "#" +
    getComputedStyle(box)[name].match(/\\d+/g).slice(0, 3).map(n => (+n).toString(16).padStart(2, "0")).join(""))"""
LIGHT = """() => {
    const dark = [...document.querySelectorAll('source')].map(source => source.srcset);
    return [...document.images].every(image => image.complete && !dark.includes(image.currentSrc));
}"""
SHOWN = "[...document.images].map(image => image.currentSrc)"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    runs = {"tiles": reported(video() + 0.1, TILES, seconds=2.5), "shards": reported(video(), SHARDS, seconds=2.5)}
    path: Path = tk.report(runs, reported(video())).to_html(tmp_path_factory.mktemp("report") / "report.html")
    return path.as_uri()


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(color_scheme=request.param, offline=True, viewport={"width": 1120, "height": 900})
    guard, one = Guard(context), context.new_page()
    said: list[str] = []
    one.on("console", lambda message: said.append(message.text))
    one.goto(address)
    yield one
    assert (guard.refused, guard.errors, said) == ([], [], [])
    context.close()


def test_all_of_it_is_there_offline(page):
    widths = page.evaluate(SIZES)
    assert len(widths) == 10
    assert min(widths) > 0
    page.wait_for_function("document.querySelector('video').readyState >= 1")
    assert page.evaluate("document.querySelector('video').videoWidth") == 240
    assert page.locator("table tbody tr").first.inner_text().startswith("the model's own call")
    # Only the table itself may be wider than the page.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    scheme = "dark" if page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "light"
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"report-{scheme}.png", full_page=True)


def test_it_reads_in_both_and_on_a_telephone(page):
    ink, paper = page.locator("body").evaluate(COLOURS)
    assert contrast(ink, paper) > 7
    soft, _ = page.locator("p.soft").first.evaluate(COLOURS)
    assert contrast(soft, paper) > 4.5
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_figures_follow_the_page_and_paper_is_light(page):
    before = page.evaluate(SHOWN)
    page.emulate_media(color_scheme="light", media="print")
    page.wait_for_function(LIGHT)  # browsers choose the picture again only some time after the medium changes
    printed = page.evaluate(SHOWN)
    assert len(printed) == 10
    _, paper = page.locator("body").evaluate(COLOURS)
    assert paper == "#ffffff"
    dark = page.evaluate("[...document.querySelectorAll('source')].map(source => source.srcset)")
    assert set(before) in (set(printed), {before[0], *dark})
    assert not page.locator("video").is_visible()
