"""Themes: the few colours that a figure's layout sets, and units for its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, get_args

from toolkit.errors import PlanError
from toolkit.geometry.checks import check_choice
from toolkit.geometry.drawing.palette import RANK_COLOURS

ThemeName = Literal["neutral", "light", "dark"]

BLUE, ORANGE, GREEN, PINK, SKY, VERMILION, YELLOW, BROWN = RANK_COLOURS
"""The colours of ranks by name, for kinds of bars."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of everything except the data.

    Attributes:
        text: Colour of titles, ticks and legend.
        paper: Colour of the background.
        grid: Colour of grid lines.
    """

    text: str
    paper: str
    grid: str


THEMES: dict[str, Theme] = {
    # A grey with a contrast of 4.3:1 on both white and #111, because a figure does not know its page.
    "neutral": Theme("#797979", "rgba(0,0,0,0)", "rgba(127,127,127,0.2)"),
    "light": Theme("#333333", "#FFFFFF", "#E5E5E5"),
    "dark": Theme("#DDDDDD", "#111111", "#333333"),
}


def template(theme: ThemeName) -> dict[str, Any]:
    """A plotly template for one figure: a fifteenth of the size of plotly's own, and not registered globally.

    Raises:
        PlanError: If the theme is unknown.

    Example:
        >>> template("dark")["layout"]["font"]["color"]
        '#DDDDDD'
    """
    check_choice("theme", theme, choices=get_args(ThemeName))
    colours = THEMES[theme]
    axis = {"gridcolor": colours.grid, "zeroline": False, "automargin": True}
    # Invisible ticks keep the labels of the two axes apart in the corner.
    axis |= {"ticks": "outside", "ticklen": 4, "tickcolor": "rgba(0,0,0,0)"}
    return {
        "layout": {
            "font": {"color": colours.text, "size": 12},
            "paper_bgcolor": colours.paper,
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(RANK_COLOURS),
            "xaxis": axis,
            "yaxis": axis,
        }
    }


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit that keeps numbers short.

    Attributes:
        scale: Factor from the base unit (seconds, bytes) to this one.
        name: The unit's name.
    """

    scale: float
    name: str

    def __post_init__(self) -> None:
        if not (isfinite(self.scale) and self.scale > 0 and self.name):
            raise PlanError(f"{self!r}: a unit needs a positive scale and a name.")


def time_unit(longest: float) -> Unit:
    """The unit for times of up to ``longest`` seconds.

    Example:
        >>> time_unit(0.25), time_unit(12.0)
        (Unit(scale=1000.0, name='ms'), Unit(scale=1.0, name='s'))
    """
    return Unit(1e3, "ms") if longest < 1 else Unit(1.0, "s")


def byte_unit(largest: float) -> Unit:
    """The decimal unit for counts of up to ``largest`` bytes.

    Example:
        >>> byte_unit(5e8), byte_unit(8e9)
        (Unit(scale=1e-06, name='MB'), Unit(scale=1e-09, name='GB'))
    """
    if largest < 1e6:
        return Unit(1e-3, "kB")
    return Unit(1e-6, "MB") if largest < 1e9 else Unit(1e-9, "GB")
