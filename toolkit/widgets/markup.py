"""The HTML around what widgets show: a heading, a refusal, a snippet. No scripts, and the style of every other view."""

from __future__ import annotations

from html import escape

from toolkit.geometry.drawing.html import STYLE

_PRE = "margin:0;background:none;color:inherit;font:12px/1.5 monospace"


def page(title: str, facts: str, body: str) -> str:
    """A heading above HTML.

    Args:
        title: of a word or two.
        facts: what there is to say, in one sentence.
        body: HTML.
    """
    heading = f'<div><b>{escape(title)}</b> <span class="tk-soft">{escape(facts)}</span></div>'
    return f'<div class="tk-view"><style>{STYLE}</style>{heading}{body}</div>'


def refusal(title: str, message: str) -> str:
    """What takes the place of a drawing that cannot be made; read out at once by those who read out pages."""
    return page(title, "not possible", f'<p role="alert">{escape(message)}</p>')


def code(snippet: str) -> str:
    """Code to copy, under a drawing."""
    return f'<div class="tk-view"><pre style="{_PRE}">{escape(snippet)}</pre></div>'


def picture(data: str, description: str, width: int) -> str:
    """A PNG in the page itself.

    Args:
        data: the PNG in base 64.
        description: the picture in one sentence.
        width: in pixels; a narrower page shows it smaller.
    """
    return (
        f'<img src="data:image/png;base64,{data}" alt="{escape(description)}" width="{width}" '
        'style="max-width:100%;height:auto">'
    )
