"""SVG from plain integers: the few elements that the pictures of plans use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import blake2s
from html import escape

HATCH = "url(#hatch)"
"""The fill for overlaps. :func:`svg` gives the pattern a different name in every picture."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """An SVG. As text, it is the element that a page contains.

    Attributes:
        width: Its width in pixels.
        height: Its height in pixels.
        summary: One sentence, which screen readers read.
        body: The elements in it.
    """

    width: int
    height: int
    summary: str
    body: str

    @property
    def size(self) -> str:
        """The attributes that give its size."""
        return f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'

    def __str__(self) -> str:
        return f'<svg {self.size} role="img" aria-label="{escape(self.summary)}">{self.body}</svg>'


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing and its notes.

    Attributes:
        drawing: The drawing.
        notes: What the drawing leaves out or distorts, one phrase each.
    """

    drawing: Drawing
    notes: tuple[str, ...] = ()


def svg(width: int, height: int, *, summary: str, parts: Iterable[str]) -> Drawing:
    """A drawing of elements.

    Its only id is the name of the hatch pattern, a hash of the content. So equal drawings are equal in every byte, and
    two drawings on one page do not use each other's pattern.

    Example:
        >>> print(svg(8, 4, summary="a dash", parts=[path(rect(0, 1, 8, 2))]))
        <svg width="8" height="4" viewBox="0 0 8 4" role="img" aria-label="a dash"><path d="M0 1h8v2h-8z"/></svg>
    """
    drawing = Drawing(width, height, summary, "".join(parts))
    if HATCH not in drawing.body:
        return drawing
    name = f"tk-{blake2s(str(drawing).removesuffix('</svg>').encode(), digest_size=6).hexdigest()}"
    return replace(drawing, body=_hatch(name) + drawing.body.replace(HATCH, f"url(#{name})"))


def rect(x: int, y: int, width: int, height: int) -> str:
    """A rectangle as path data, so that many can share one path.

    Example:
        >>> rect(1, 2, 30, 40)
        'M1 2h30v40h-30z'
    """
    return f"M{x} {y}h{width}v{height}h-{width}z"


def path(data: str, title: str = "", **attributes: str | float) -> str:
    """A path. Its ``title`` appears when the pointer rests on it.

    Example:
        >>> path("M0 0h9", stroke_width=2)
        '<path stroke-width="2" d="M0 0h9"/>'
    """
    head = f'<path{_attributes(attributes)} d="{data}"'
    return f"{head}><title>{escape(title)}</title></path>" if title else f"{head}/>"


def text(x: float, y: float, content: object, **attributes: str | float) -> str:
    """A label with its baseline at ``y``.

    Example:
        >>> text(3, 9.5, "h < w", text_anchor="end")
        '<text x="3" y="9.5" text-anchor="end">h &lt; w</text>'
    """
    return f'<text x="{x:g}" y="{y:g}"{_attributes(attributes)}>{escape(str(content))}</text>'


def group(parts: Iterable[str], **attributes: str | float) -> str:
    """A group of parts with common attributes.

    Example:
        >>> group(["<b/>"], fill="none")
        '<g fill="none"><b/></g>'
    """
    return f"<g{_attributes(attributes)}>{''.join(parts)}</g>"


def _attributes(values: dict[str, str | float]) -> str:
    # A trailing underscore lets `class_` be a keyword argument.
    named = ((name.rstrip("_").replace("_", "-"), value) for name, value in values.items())
    return "".join(f' {name}="{escape(str(value))}"' for name, value in named)


def _hatch(name: str) -> str:
    # A dark line beside a light one: on any colour, one of the two is visible.
    dark = '<path d="M1.5 0v7" stroke="#000" stroke-opacity=".45"/>'
    light = '<path d="M2.6 0v7" stroke="#fff" stroke-opacity=".6"/>'
    return (
        f'<defs><pattern id="{name}" width="7" height="7" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)">{dark}{light}</pattern></defs>'
    )
