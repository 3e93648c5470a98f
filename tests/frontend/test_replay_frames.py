"""A replay's figure in a browser: what a moment changes is all that a full redraw would change, in a frame's time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from support.frontend import VIEWPORT
from support.replayed import many_tiles, tile_run

import toolkit as tk

PLAY = """
async redraw => {
  const figure = document.querySelector('.js-plotly-plot');
  const names = figure._transitionData._frames.map(frame => frame.name);
  const seen = [], taken = [];
  for (const name of [...names, ...names.reverse()]) {
    const begin = performance.now();
    await Plotly.animate(figure, [name], {mode: 'immediate', frame: {duration: 0, redraw}, transition: {duration: 0}});
    taken.push(performance.now() - begin);
    const layers = document.querySelectorAll('.main-svg .scatterlayer, .main-svg .barlayer');
    seen.push([...layers].map(layer => layer.innerHTML).join('|')
      .replace(/(scatter trace|#clip|#p)[0-9a-f]+(-[0-9a-f]+)?/g, '$1').replace(/opacity: 1; ?/g, ''));
  }
  return [seen, taken.sort((a, b) => a - b)[Math.floor(taken.length / 2)]];
}
"""


@pytest.mark.parametrize("make", [many_tiles, tile_run])
def test_a_moment_looks_as_if_all_were_drawn_anew(browser: Browser, tmp_path: Path, make):
    figure = tk.plot.replay(make(), moments=12)
    figure.write_html(tmp_path / "replay.html", auto_play=False)
    found = []
    for redraw in (True, False):
        page = browser.new_page(viewport=VIEWPORT)
        page.goto((tmp_path / "replay.html").as_uri())
        page.wait_for_selector(".js-plotly-plot .slider-rail-touch-rect")
        seen, taken = page.evaluate(PLAY, redraw)
        print(f"{make.__name__}, {'all anew' if redraw else 'as it plays'}: {taken:.0f} ms per moment")
        found.append(seen)
        on_map = page.locator(".nsewdrag[data-subplot=xy]").bounding_box()
        assert on_map is not None
        middle = on_map["x"] + on_map["width"] / 2, on_map["y"] + on_map["height"] / 2
        page.mouse.move(*middle)
        page.mouse.move(middle[0] + 3, middle[1] + 3)
        expect(page.locator(".hoverlayer")).to_contain_text(re.compile(r"tile \d+, rank \d+"))
        page.close()
    anew, played = found
    assert len(played) == 2 * len(figure.frames)
    assert len(set(played)) > len(figure.frames) / 2
    assert played == anew
