"""A report as Markdown for a pull request: tables in GitHub's format, with long ones folded."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import pandas as pd

from toolkit.evidence.contents import Contents
from toolkit.evidence.tables import WORDS

MARKS = ("\\", "|", "_", "*", "`", "[", "]", "~", "$")
"""Characters to which Markdown, GitHub's or another, gives a meaning inside a line."""


def markdown(contents: Contents, files: Mapping[str, str] | None = None, *, film: str | None = None) -> str:
    """The whole report as Markdown.

    Args:
        contents: The report's contents.
        files: Path of each picture, by its heading; pictures without a path are left out.
        film: Path of the video; None leaves it out.
    """
    parts = [f"### {plain(contents.title)}", plain(contents.setting)]
    parts += ["\n>\n".join(f"> **Caution:** {plain(one)}" for one in contents.cautions)] if contents.cautions else []
    parts.append(table(contents.headline))
    parts.append("\n".join(f"* {plain(sentence)}" for sentence in contents.closeness))
    parts.append(plain(" ".join(contents.remarks)))
    for picture in contents.pictures:
        if picture.heading in (files or {}):
            parts.append(f"**{plain(picture.heading)}**\n\n![{plain(picture.alt)}]({(files or {})[picture.heading]})")
    if film is not None:
        parts.append(f"[Side by side]({film}), the reference on the left. Compressed, so for viewing only.")
    parts.append(folded("Each rank", table(contents.ranks)))
    if not contents.frames.empty:
        parts.append(folded("Each frame", table(contents.frames)))
    parts += [folded(f"Record of {name}", f"```json\n{text}\n```") for name, text in contents.records.items()]
    return "\n\n".join(parts) + "\n"


def table(cells: pd.DataFrame) -> str:
    r"""A table of text in GitHub's format.

    Example:
        >>> print(table(pd.DataFrame({"run": ["a|b"], "ranks": ["2"]})))
        | run | ranks |
        |---|--:|
        | a\|b | 2 |
    """
    head = f"| {' | '.join(plain(str(column)) for column in cells)} |"
    rule = "|" + "|".join("---" if column in WORDS else "--:" for column in cells) + "|"
    rows = [f"| {' | '.join(plain(str(text)) for text in row)} |" for row in cells.itertuples(index=False)]
    return "\n".join([head, rule, *rows])


def folded(summary: str, content: str) -> str:
    """Content that a click unfolds; GitHub needs the blank lines to read the content as Markdown."""
    # Inside an HTML tag, backslashes escape nothing.
    said = _unlinked(escape(" ".join(summary.split()), quote=False))
    return f"<details>\n<summary>{said}</summary>\n\n{content}\n\n</details>"


def plain(text: str) -> str:
    r"""Text on one line, escaped so that Markdown prints it as it is: no links, no pictures, nobody is notified.

    Example:
        >>> plain("max |error|\n<b>_x_"), plain("![a](b) for @you, see #1")
        ('max \\|error\\| &lt;b>\\_x\\_', '!\\[a\\](b) for @&#8203;you, see #&#8203;1')
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    for mark in MARKS:
        text = text.replace(mark, f"\\{mark}")
    return " ".join(_unlinked(text).split())


def _unlinked(text: str) -> str:
    """Text in which GitHub sees no people to notify and no issues to link to.

    It looks for them in the page that it has made of the Markdown, where no escape is left: what comes between is a
    space without width.
    """
    return text.replace("#", "#&#8203;").replace("@", "@&#8203;")
