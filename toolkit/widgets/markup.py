"""The HTML around what widgets show: a heading, an error, a snippet. No scripts; styled like all other views."""

from __future__ import annotations

from html import escape

from toolkit.geometry.drawing.style import STYLE

_PRE = "margin:0;background:none;color:inherit;font:12px/1.5 monospace"


def page(title: str, facts: str, *, body: str) -> str:
    """HTML under a heading.

    Args:
        title: A heading of a word or two.
        facts: The main facts in one sentence.
        body: The HTML.
    """
    heading = f'<div><b>{escape(title)}</b> <span class="tk-soft">{escape(facts)}</span></div>'
    return f'<div class="tk-view"><style>{STYLE}</style>{heading}{body}</div>'


def refusal(title: str, message: str) -> str:
    """The page that replaces a drawing that cannot be made; screen readers read it out at once."""
    return page(title, "not possible", body=f'<p role="alert">{escape(message)}</p>')


def code(snippet: str) -> str:
    """Code to copy, under a drawing."""
    return f'<div class="tk-view"><pre style="{_PRE}">{escape(snippet)}</pre></div>'


def picture(data: str, description: str, *, width: int) -> str:
    """An ``img`` element that contains a PNG.

    Args:
        data: The PNG in base 64.
        description: One sentence that describes the picture.
        width: Width in pixels; on a narrower page the picture shrinks.
    """
    return (
        f'<img src="data:image/png;base64,{data}" alt="{escape(description)}" width="{width}" '
        'style="max-width:100%;height:auto">'
    )
