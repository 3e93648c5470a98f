"""The documentation as programs: the Python of each page runs from top to bottom, and prints what the page says.

The comment ``<!-- not run: why -->`` before a block leaves it out. ``<!-- output -->`` before a block of text makes it
what the code before it prints; ``<!-- output: may differ -->`` is for numbers that depend on the machine.
"""

from __future__ import annotations

import contextlib
import gc
import io
import linecache
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.pages import DOCS, ROOT, Block, blocks

README = ROOT / "README.md"
PAGES = [path for path in (README, *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("guides/*.md"))) if path.exists()]
RUN = [path for path in PAGES if any(block.language == "python" for block in blocks(path.read_text()))]


def execute(page: Path, block: Block, names: dict[str, Any]) -> str:
    """Run a block in the namespace of its page, and return what it printed; tracebacks name the page's own lines."""
    text = "\n" * block.line + block.text
    name = f"{page.relative_to(ROOT)}:{block.line}"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(text, name, "exec", dont_inherit=True), names)
    return printed.getvalue()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder of its own, because pages write files."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    gc.collect()


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_runs_and_prints_what_it_says(page: Path, folder: Path):
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page.read_text()):
        if block.language == "python" and block.mark != "not run":
            printed = execute(page, block, names)
        elif block.mark == "output" and not block.remark:
            assert _lines(printed) == _lines(block.text), f"line {block.line}"
        elif block.mark == "output":
            assert printed, f"line {block.line}"


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def test_it_would_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = ROOT / "one.md"
    text = "```python\nprint(1)\n```\n\n<!-- output -->\n```text\n2\n```\n"
    first, second = blocks(text)
    assert execute(page, first, {}) == "1\n" != second.text
    assert (second.mark, second.line) == ("output", 6)
    with pytest.raises(ZeroDivisionError):
        execute(page, Block("python", "1 / 0", 1), {})
