"""HTML for notebooks: a table beside a picture, in the colours of the page. No scripts and no downloads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from toolkit.geometry.drawing.palette import rank_colour, text_on
from toolkit.geometry.drawing.svg import Picture

LIGHT = {"ink": "#1f2328", "soft": "#57606a", "paper": "#ffffff", "line": "#d0d7de", "tile": "#dde3ea"}
DARK = {"ink": "#e6edf3", "soft": "#9ea7b3", "paper": "#111111", "line": "#444c56", "tile": "#39424d"}
"""Colours by role, for pages that do not define their own."""

_HOST = {
    "ink": "--jp-content-font-color1,var(--vscode-editor-foreground",
    "soft": "--jp-content-font-color2,var(--vscode-descriptionForeground",
    "paper": "--jp-layout-color0,var(--vscode-editor-background",
}
MOST_STILL = 20_000
"""Characters of a drawing of which a second copy, as an image, is still worth its room."""

TITLES = re.compile(r"<title>.*?</title>", re.DOTALL)
_RULES = """
.tk-view{color:var(--tk-ink);background:var(--tk-paper);font:13px/1.4 system-ui,sans-serif;padding:6px 8px}
.tk-view .tk-row{display:flex;flex-wrap:wrap;gap:10px 28px;align-items:flex-start;margin-top:6px}
.tk-view .tk-figure{display:block!important}.tk-view .tk-still{display:none!important}
.tk-view .tk-figure svg{max-width:100%;height:auto;font:11px system-ui,sans-serif}
.tk-view .tk-soft,.tk-view p{color:var(--tk-soft)}.tk-view p{margin:6px 0 0;max-width:62em}
.tk-view table{border-collapse:collapse;margin:0;border:0;font-size:12px;font-variant-numeric:tabular-nums}
.tk-view table tr{background:none}.tk-view table tr:hover{background:none}
.tk-view table th,.tk-view table td{padding:2px 8px;text-align:right;border:0;border-bottom:1px solid var(--tk-line)}
.tk-view table th{color:var(--tk-soft);font-weight:500;vertical-align:bottom}
.tk-view table .tk-word{text-align:left;white-space:pre-line}
.tk-view .tk-chip{display:inline-block;min-width:1.3em;padding:0 4px;border-radius:3px}
.tk-view .tk-chip{text-align:center;font-weight:600}
.tk-view .tk-bar{min-width:5em;background:linear-gradient(90deg,var(--tk-tile) var(--tk-part),transparent 0)}
.tk-view .tk-label{fill:var(--tk-ink)}.tk-view .tk-name{font-weight:600}.tk-view .tk-tile{fill:var(--tk-tile)}
.tk-view .tk-over{pointer-events:none;fill:none}.tk-view .tk-cut{stroke:var(--tk-paper);stroke-width:2}
.tk-view .tk-torn{stroke:var(--tk-ink);stroke-width:2;stroke-dasharray:2 3}
.tk-view .tk-hatch{stroke:var(--tk-ink);stroke-opacity:.55;stroke-width:.7}.tk-view .tk-faint{opacity:.4}
.tk-view .tk-halo{stroke:var(--tk-paper);stroke-width:5}.tk-view .tk-box{fill:none;stroke:var(--tk-ink);stroke-width:2}
.tk-view .tk-number{paint-order:stroke;stroke-width:3px;stroke-linejoin:round;text-anchor:middle;font-weight:600}
.tk-view .tk-number{pointer-events:none}.tk-view .tk-index{fill:var(--tk-ink);stroke:var(--tk-tile)}
.tk-view .tk-curve{fill:none;stroke-width:2}.tk-view .tk-dots{stroke-width:7;stroke-linecap:round}
.tk-view .tk-axis{fill:none;stroke:var(--tk-soft)}
"""


def view(title: str, facts: str, *, table: str, picture: Picture) -> str:
    """A heading, and a table beside a picture with its notes.

    Viewers of untrusted notebooks drop styles and drawings. There, an image takes the drawing's place.
    """
    notes = f"<p>{escape('; '.join(picture.notes))}.</p>" if picture.notes else ""
    return (
        f'<div class="tk-view"><style>{STYLE}</style><div><b>{escape(title)}</b> <span class="tk-soft">{escape(facts)}'
        f'</span></div><div class="tk-row"><div>{table}</div><div>{figure(picture.svg, notes)}</div></div></div>'
    )


def figure(svg: str, notes: str = "") -> str:
    """A drawing in the colours of the page, and an image of it that shows where viewers drop the drawing.

    The style sheet hides the image. A notebook that came from somewhere else is not trusted: it has neither style sheet
    nor drawing, but images stay.

    Args:
        svg: The drawing.
        notes: HTML under the drawing.
    """
    return f'<div class="tk-figure" style="display:none">{svg}</div>{_still(svg)}{notes}'


def _still(svg: str) -> str:
    """The drawing as an ``img`` that needs nothing around it, on a light ground."""
    if len(svg) > MOST_STILL:
        return '<p class="tk-still">The drawing shows in a trusted notebook: run the cell, or trust the notebook.</p>'
    head, body = TITLES.sub("", svg).split(">", 1)
    size = " ".join(re.findall(r'\b(?:width|height|viewBox)="[^"]*"', head))
    summary = re.findall(r'aria-label="([^"]*)"', head)
    ground = f'<rect width="100%" height="100%" fill="{LIGHT["paper"]}"/>'
    alone = f'<svg xmlns="http://www.w3.org/2000/svg" class="tk-view" {size}><style>{_ALONE}</style>{ground}{body}'
    width = "".join(re.findall(r'\bwidth="(\d+)"', size))
    return (
        f'<img class="tk-still" src="data:image/svg+xml,{quote(alone, safe=" =/,;{}()")}" alt="{"".join(summary)}" '
        f'width="{width}"/>'
    )


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


def _theme(colours: dict[str, str]) -> str:
    return ";".join(
        f"--tk-{role}:" + (f"var({_HOST[role]},{colour}))" if role in _HOST else colour)
        for role, colour in colours.items()
    )


def _style() -> str:
    """The rules: light by default, dark if the system asks for it, and above both the page's own theme."""
    marks = "[data-jp-theme-light={}] .tk-view,.vscode-{} .tk-view,[data-theme={}] .tk-view,[theme={}] .tk-view"
    light, dark = marks.format("true", *["light"] * 3), marks.format("false", *["dark"] * 3)
    return (
        f".tk-view{{{_theme(LIGHT)}}}@media(prefers-color-scheme:dark){{.tk-view{{{_theme(DARK)}}}}}"
        f"{light}{{{_theme(LIGHT)}}}{dark}{{{_theme(DARK)}}}{_RULES.replace(chr(10), '')}"
    )


def _alone() -> str:
    """The rules of a drawing that stands alone."""
    rules = re.findall(r"\.tk-view \.tk-(?!row|figure|still|soft|chip|bar)[^{}]*\{[^}]*\}", _RULES)
    colours = ";".join(f"--tk-{role}:{colour}" for role, colour in LIGHT.items())
    return f"svg{{{colours};font:11px system-ui,sans-serif}}{''.join(rules)}"


_ALONE = _alone()
STYLE = _style()
"""The style sheet, all of it under the class ``tk-view``."""
