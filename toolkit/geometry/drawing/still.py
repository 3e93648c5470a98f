"""A drawing as an image, for viewers that drop drawings, such as those of untrusted notebooks."""

from __future__ import annotations

import re
from html import escape
from urllib.parse import quote

from toolkit.geometry.drawing.style import DRAWING_RULES, LIGHT, joined
from toolkit.geometry.drawing.svg import Drawing

MOST_CHARACTERS = 20_000
"""Characters of a drawing of which a second copy, as an image, is still worth its room."""

TITLES = re.compile(r"<title>.*?</title>", re.DOTALL)
"""What shows under the pointer, which an image does not have."""


def still(drawing: Drawing) -> str:
    """The drawing as an ``img`` that needs nothing around it, on a light ground."""
    if len(str(drawing)) > MOST_CHARACTERS:
        return '<p class="tk-still">The drawing shows in a trusted notebook: run the cell, or trust the notebook.</p>'
    ground = f'<rect width="100%" height="100%" fill="{LIGHT["paper"]}"/>'
    alone = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tk-view" {drawing.size}><style>{_RULES}</style>{ground}'
        f"{TITLES.sub('', drawing.body)}</svg>"
    )
    return (
        f'<img class="tk-still" src="data:image/svg+xml,{quote(alone, safe=" =/,;{}()")}" '
        f'alt="{escape(drawing.summary)}" width="{drawing.width}"/>'
    )


def _rules() -> str:
    colours = ";".join(f"--tk-{role}:{colour}" for role, colour in LIGHT.items())
    return f"svg{{{colours};font:11px system-ui,sans-serif}}{joined(DRAWING_RULES)}"


_RULES = _rules()
