"""A report as Markdown."""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest

import toolkit as tk


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


def test_a_file_s_name_cannot_break_the_links(made, tmp_path):
    path = tmp_path / "a b) [c](d.md"
    text = made.to_markdown(path)
    places = re.findall(r"\]\(([^)]*)\)", text)
    assert {unquote(place) for place in places} == {
        f"a b) [c](d_files/{file.name}" for file in (tmp_path / "a b) [c](d_files").iterdir()
    }
    assert all(re.fullmatch(r"[\w.%/-]+", place) for place in places)


@pytest.mark.parametrize("title", ["[a](http://evil)", "![a](b)", "@torvalds #1", "$x$ ~~a~~"])
def test_titles_and_names_are_printed_as_they_are(title, whole, tiled):
    text = tk.report({title: tiled}, whole, title=title, notes=[title]).to_markdown()
    assert not re.search(r"@\w|#\d", re.sub("&#8203;", "\u200b", text))
    # Inside a tag, and in a block of code, Markdown is text.
    text = re.sub(r"```json.*?```|<summary>.*?</summary>", "", text, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)[\[\]~$]", text)


def test_a_report_that_cannot_be_written_changes_nothing(made, tmp_path, monkeypatch):
    for name in ("report.html", "report.md"):
        (tmp_path / name).write_text("before")
    # toolkit.evidence has a function of the module's name.
    monkeypatch.setattr(sys.modules["toolkit.evidence.report"], "MOST_FILM", 0)
    real = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.suffix in (".webp", ".png", ".mp4"):
            raise OSError(28, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    for write in (made.to_html, made.to_markdown):
        with pytest.raises(tk.ToolkitError, match=r"_files/.*could not be written \(No space left on device\)"):
            write(tmp_path / ("report.html" if write == made.to_html else "report.md"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("report.html", "report.md"), "before"
    )


@pytest.mark.parametrize("name", ["no/such/x", "", "a\0b"])
def test_a_path_is_refused_before_anything_is_drawn(whole, tiled, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = tk.report(tiled, whole)
    monkeypatch.setattr(type(report), "_contents", lambda *_: pytest.fail("the report was made"))
    for write in (report.to_html, report.to_markdown):
        with pytest.raises(tk.PlanError, match="path="):
            write(name)


def test_the_files_of_a_report_are_private(made, tmp_path):
    made.to_markdown(tmp_path / "report.md")
    made.to_html(tmp_path / "report.html")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 4
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
