"""A report as a page and as Markdown: whole by itself, the same each time, and nothing in a name is markup."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.reported import SHARDS, TILES, reported, video

import toolkit as tk
from toolkit.evidence import Report
from toolkit.evidence.contact_sheet import GAP, LINE, MOST_BYTES, contact_sheet
from toolkit.evidence.pictures import sheet
from toolkit.runs.video_file import read_video

NASTY = 'a|b <script>alert("x")</script> & `c` *d*'
VOID = {"meta", "link", "img", "source", "br"}


class Page(HTMLParser):
    """What a page is made of, its tags balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.found if found == tag]


@pytest.fixture(scope="module")
def made() -> Report:
    runs = {"tiles": reported(video() + 0.1, TILES, seconds=2.5), NASTY: reported(video(), SHARDS, seconds=2.0)}
    return tk.report(runs, reported(video()), title="2 < 3 & 1")


def test_a_page_is_whole_by_itself(made, tmp_path):
    path = made.to_html(tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert path.stat().st_size < 2_000_000
    assert list(tmp_path.iterdir()) == [path]
    assert page.named("script") == []
    places = [one[name] for _, one in page.found for name in ("src", "srcset", "href") if name in one]
    assert len(places) > 12
    assert all(place.startswith("data:") for place in places)
    assert "http" not in re.sub(r"data:[^\"]*", "", text)
    assert all(len(image["alt"]) > 20 for image in page.named("img"))
    assert text == made.to_html(tmp_path / "again.html").read_text(encoding="utf-8")


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


def test_the_video_is_the_reference_beside_the_outputs(made, tmp_path):
    (tmp_path / "side.mp4").write_bytes(made.film)
    frames = read_video(tmp_path / "side.mp4")
    assert frames.shape == (1, 3, 5, 48, 240)


def test_a_large_video_lies_beside_the_page(made, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[Report.__module__], "MOST_FILM", 1000)
    page = Page(made.to_html(tmp_path / "a report.html").read_text(encoding="utf-8"))
    (film,) = page.named("video")
    assert film["src"] == "a%20report_files/side_by_side.mp4"
    assert (tmp_path / "a report_files" / "side_by_side.mp4").read_bytes() == made.film


def test_an_image_has_no_video(tmp_path):
    shape = (1, 3, 33, 47)
    one = tk.report(reported(video(1, shape), SHARDS), reported(video(0, shape)))
    assert one.film is None
    assert "<video" not in one.to_html(tmp_path / "one.html").read_text()


def test_markdown_tables_keep_their_columns(made):
    text = made.to_markdown()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for row, rule in pairwise(rows):
        if set(rule) <= set("|-:"):
            columns = len(rule.strip("|").split("|"))
        assert len(re.findall(r"(?<!\\)\|", row)) == columns + 1
    assert text.count("<details>") == text.count("</details>") == 5
    assert "<script>" not in text
    assert text == made.to_markdown()


def test_markdown_brings_its_pictures(made, tmp_path):
    text = made.to_markdown(tmp_path / "report.md")
    assert text == (tmp_path / "report.md").read_text(encoding="utf-8")
    places = re.findall(r"\]\((report_files/[^)]+)\)", text)
    assert len(places) == len(made.pictures) + 1
    assert {Path(place).name for place in places} == {path.name for path in (tmp_path / "report_files").iterdir()}


def test_in_a_notebook_it_is_small_and_static(made):
    bundle = made._repr_mimebundle_()
    assert bundle["text/plain"] == "Report(2 runs, 2 compared with the model's own call)"
    assert len(bundle["text/html"]) < 50_000
    assert Page(bundle["text/html"]).named("script") == []


@pytest.mark.parametrize("shape", [(1, 3, 2, 33, 47), (1, 1, 8, 8), (1, 16, 3, 12, 20), (2, 3, 5, 40, 700)])
def test_sheets_of_any_shape(shape):
    one = tk.report({"other": reported(video(1, shape), SHARDS), "same": reported(video(0, shape), SHARDS)},
                    reported(video(0, shape)))  # fmt: skip
    with Image.open(BytesIO(sheet(one.subjects[1:], "the reference").light)) as drawn:
        height = (drawn.height - GAP) / 4 - LINE - GAP
        assert height == int(height)
        across = drawn.width / (height * shape[-1] / shape[-2])
        # First, middle and last frame at least; the one with the largest error may be a fourth.
        assert min(3, shape[0] * (shape[2] if len(shape) == 5 else 1)) <= across < 4.5


def test_a_sheet_of_noise_in_full_size_is_made_smaller():
    large, other = torch.rand(1, 3, 720, 1280) * 2 - 1, torch.rand(1, 3, 720, 1280) * 2 - 1
    compared = tk.report(reported(other, SHARDS), reported(large), data_range=4.0).subjects[1:]
    assert len(contact_sheet(compared, "the model's own call", frames=[0])) < MOST_BYTES
