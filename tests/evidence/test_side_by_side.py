"""The video of a report."""

from __future__ import annotations

import sys

from support.report_pages import Page
from support.reported import SHARDS, reported, video

import toolkit as tk
from toolkit.evidence import Report
from toolkit.runs.video_file import read_video


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
