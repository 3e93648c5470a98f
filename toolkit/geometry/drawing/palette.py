"""Colours: one per rank, the same in every picture, and distinct for colour-blind readers too."""

from __future__ import annotations

from typing import Any

RANK_COLOURS = (
    "#0072B2",  # blue
    "#E69F00",  # orange
    "#009E73",  # green
    "#CC79A7",  # pink
    "#56B4E9",  # sky
    "#D55E00",  # vermilion
    "#F0E442",  # yellow
    "#8C564B",  # brown
)
"""The colours of Okabe and Ito, with brown instead of black, which would not show on a dark page.

Any two differ by at least 10 in CIEDE2000, also with protanopia, deuteranopia or tritanopia.
"""

SEQUENTIAL = "Viridis"
"""Plotly's name of the colour scale for quantities from 0 up."""

THIN_MARKS: list[list[Any]] = [
    [0.0, "#6A4FB3"],
    [0.25, "#2F7FB8"],
    [0.5, "#1F9A8A"],
    [0.75, "#5F9A3C"],
    [1.0, "#BFA000"],
]
"""The colour scale for quantities that colour thin lines and points, in plotly's form.

It goes from violet by blue and green to a dark yellow, ever lighter. Its contrast is 2.5 or more on white and on #111.
Viridis ends in a yellow that nobody sees on white.
"""

DIVERGING = "RdBu_r"
"""Plotly's name of the colour scale for signed quantities: 0 is white, negative values are blue."""


def rank_colour(rank: int) -> str:
    """The colour of a rank. Colours repeat after eight ranks, so always print the rank's number as well.

    Example:
        >>> rank_colour(0), rank_colour(8)
        ('#0072B2', '#0072B2')
    """
    return RANK_COLOURS[rank % len(RANK_COLOURS)]


def text_on(colour: str) -> str:
    """Black or white, whichever is more legible on ``colour``. The contrast is at least 4.58 on any colour.

    Example:
        >>> text_on(rank_colour(0)), text_on(rank_colour(1))
        ('#FFFFFF', '#000000')
    """
    return max("#000000", "#FFFFFF", key=lambda ink: contrast(ink, colour))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21, as WCAG 2 defines it. Text needs at least 4.5.

    Example:
        >>> contrast("#000000", "#FFFFFF")
        21.0
    """
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(value: float) -> float:
    return float(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
