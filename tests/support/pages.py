"""The pages of the documentation as text: their code, what it should print, their links and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("guides/*.md")), *sorted(DOCS.glob("reference/*.md"))]
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!-- (not run|output)(?:: (.+?))? -->\s*\Z")
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: What stands behind the fence.
        text: What is between the fences.
        line: The line of the fence, from 1.
        mark: ``"not run"`` or ``"output"``, from a comment right before it; else empty.
        remark: What the comment says behind a colon.
    """

    language: str
    text: str
    line: int
    mark: str = ""
    remark: str = ""


def blocks(text: str) -> Iterator[Block]:
    """All fenced blocks of a page."""
    for found in FENCE.finditer(text):
        comment = COMMENT.search(text[: found.start()])
        mark, remark = comment.groups() if comment else ("", "")
        yield Block(found[1].strip(), found[2], text[: found.start()].count("\n") + 1, mark or "", remark or "")


def prose(text: str) -> str:
    """A page without its fenced blocks and inline code, in which brackets are no links."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def links(text: str) -> Iterator[tuple[str, str]]:
    """The words and the target of every link and picture."""
    yield from LINK.findall(prose(text))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    heads = re.findall(r"^#{1,3} (.+)$", FENCE.sub("", text), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads)
    return set(words)
