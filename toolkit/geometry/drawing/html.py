"""HTML for notebooks: a table beside a picture, in the colours of the page. No scripts and no downloads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from toolkit.geometry.drawing.palette import rank_colour, text_on
from toolkit.geometry.drawing.still import still
from toolkit.geometry.drawing.style import STYLE
from toolkit.geometry.drawing.svg import Drawing, Picture


def view(title: str, facts: str, *, table: str, picture: Picture) -> str:
    """A heading, and a table beside a picture with its notes.

    Viewers of untrusted notebooks drop styles and drawings. There, an image takes the drawing's place.
    """
    notes = f"<p>{escape('; '.join(picture.notes))}.</p>" if picture.notes else ""
    return (
        f'<div class="tk-view"><style>{STYLE}</style><div><b>{escape(title)}</b> <span class="tk-soft">{escape(facts)}'
        f'</span></div><div class="tk-row"><div>{table}</div><div>{figure(picture.drawing, notes)}</div></div></div>'
    )


def figure(drawing: Drawing, notes: str = "") -> str:
    """A drawing in the colours of the page, and an image of it that shows where viewers drop the drawing.

    The style sheet hides the image. A notebook that came from somewhere else is not trusted: it has neither style sheet
    nor drawing, but images stay.

    Args:
        drawing: The drawing.
        notes: HTML under the drawing.
    """
    return f'<div class="tk-figure" style="display:none">{drawing}</div>{still(drawing)}{notes}'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: Sequence[str] = ()) -> str:
    """A table of cells made by :func:`cell`, :func:`word`, :func:`bar` and :func:`chip`.

    Args:
        head: Names of the columns; empty for a table without a head.
        rows: The cells, as HTML.
        words: Names of the columns that hold words. They are aligned left.

    Example:
        >>> table(["rank"], [[cell(3)]])
        '<table><thead><tr><th>rank</th></tr></thead><tbody><tr><td>3</td></tr></tbody></table>'
    """
    names = (f'<th class="tk-word">{escape(n)}</th>' if n in words else f"<th>{escape(n)}</th>" for n in head)
    top = f"<thead><tr>{''.join(names)}</tr></thead>" if head else ""
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table>{top}<tbody>{body}</tbody></table>"


def cell(content: object) -> str:
    """A number with separated thousands, or any other text, aligned right.

    Example:
        >>> cell(12345), cell("a < b")
        ('<td>12,345</td>', '<td>a &lt; b</td>')
    """
    return f"<td>{content:,}</td>" if isinstance(content, int) else f"<td>{escape(str(content))}</td>"


def word(content: object) -> str:
    """Text, aligned left."""
    return f'<td class="tk-word">{escape(str(content))}</td>'


def bar(value: int, most: int) -> str:
    """A number on a bar. The bar is full at ``most``."""
    return f'<td class="tk-bar" style="--tk-part:{100 * value / max(most, 1):.0f}%">{value:,}</td>'


def chip(rank: int) -> str:
    """The number of a rank on the rank's colour."""
    colour = rank_colour(rank)
    style = f"background:{colour};color:{text_on(colour)}"
    return f'<td><span class="tk-chip" style="{style}">{rank}</span></td>'
