"""A report as Markdown."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path


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
