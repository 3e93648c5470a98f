"""The pictures of a report."""

from __future__ import annotations

from io import BytesIO

from PIL import Image
from support.report_pages import NASTY


def test_every_figure_is_there_for_light_and_dark(made):
    headings = [picture.heading for picture in made.pictures]
    assert headings[:3] == ["Contact sheet", "Peak memory", "Speed-up and lost time"]
    assert "tiles: seams" in headings
    assert f"{NASTY}: seams" not in headings
    for picture in made.pictures[1:]:
        light, dark = (Image.open(BytesIO(data)).convert("L") for data in (picture.light, picture.dark))
        assert light.size == dark.size
        assert light.getpixel((0, 0)) > 240
        assert dark.getpixel((0, 0)) < 30
