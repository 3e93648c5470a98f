"""A report as a page: self-contained, and nothing in a name is markup."""

from __future__ import annotations

import re

from support.report_pages import Page


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
