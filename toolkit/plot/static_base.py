"""Translations from plotly to matplotlib: colours, dashes, arrays, text."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import to_rgba

DPI = 100
POINTS_PER_PIXEL = 72 / DPI
DASHES = {"dash": (0, (5, 3)), "dot": (0, (1, 2)), "dashdot": (0, (5, 2, 1, 2))}


@dataclass(frozen=True, slots=True)
class Place:
    """A pair of matplotlib axes to draw on, and the look of its text.

    Attributes:
        axes: Matplotlib's axes.
        ink: Colour of text.
        font: Font family of text.
        names: Names of the two axes in plotly's layout.
    """

    axes: Any
    ink: str
    font: str
    names: tuple[str, str] = ("xaxis", "yaxis")

    def axis(self, letter: str) -> str:
        """The layout's name for the axis along ``x`` or ``y``."""
        return self.names["xy".index(letter)]

    def text(self, size: float) -> dict[str, Any]:
        """Text properties at ``size`` points. Dollar signs are printed as they are."""
        return {"color": rgba(self.ink), "fontsize": size, "fontfamily": self.font, "parse_math": False}


def rgba(colour: str | None) -> tuple[float, float, float, float]:
    """A CSS colour from plotly as matplotlib's RGBA; fully transparent for None.

    Example:
        >>> rgba("rgba(255,0,0,0.5)"), rgba("#FFFFFF"), rgba(None)
        ((1.0, 0.0, 0.0, 0.5), (1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.0))
    """
    if colour is None:
        return (0.0, 0.0, 0.0, 0.0)
    if colour.startswith("rgb"):
        red, green, blue, *alpha = (float(part) for part in re.findall(r"[\d.]+", colour))
        return (red / 255, green / 255, blue / 255, alpha[0] if alpha else 1.0)
    return to_rgba(colour)


def decode(dash: str | None) -> Any:
    """Plotly's name for a dash as matplotlib's line style."""
    return DASHES.get(dash or "", "-")


def array(value: Any) -> np.ndarray:
    """The numbers of a trace, also from the packed form that copied figures hold.

    Example:
        >>> array({"dtype": "i1", "bdata": "AQID"}), array((None, 2.0))
        (array([1, 2, 3], dtype=int8), array([nan,  2.]))
    """
    if isinstance(value, dict):
        flat = np.frombuffer(b64decode(value["bdata"]), value["dtype"])
        return flat.reshape([int(n) for n in value["shape"].split(",")]) if "shape" in value else flat
    return np.asarray([] if value is None else value, dtype=None if isinstance(value, np.ndarray) else float)


def style(layout: Any, key: str, *, default: str) -> str:
    """A colour from the layout, else from its template."""
    return str(layout[key] or layout.template.layout[key] or default)


def plain(text: str | None) -> str:
    r"""Plotly's subset of HTML as plain text.

    Example:
        >>> plain("<b>tile 3</b><br>rank 1"), plain("a &lt; b")
        ('tile 3\nrank 1', 'a < b')
    """
    return re.sub(r"</?[a-z]+[^<>]*>", "", re.sub(r"<br ?/?>", "\n", text or "")).replace("&lt;", "<")
