"""Themes: the little that a figure's layout says about colour, and units for its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from toolkit.errors import ToolkitError
from toolkit.geometry.drawing.palette import RANK_COLOURS

ThemeName = Literal["neutral", "light", "dark"]


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of everything but the data.

    Attributes:
        text: titles, ticks, legend.
        paper: what lies behind.
        grid: grid lines.
    """

    text: str
    paper: str
    grid: str


THEMES: dict[str, Theme] = {
    # A grey that reads at 4.3:1 on white and on #111, since a figure does not know its page.
    "neutral": Theme("#797979", "rgba(0,0,0,0)", "rgba(127,127,127,0.2)"),
    "light": Theme("#333333", "#FFFFFF", "#E5E5E5"),
    "dark": Theme("#DDDDDD", "#111111", "#333333"),
}


def template(theme: ThemeName) -> dict[str, Any]:
    """A plotly template for one figure: a fifteenth of plotly's own, and nothing registered anywhere.

    Raises:
        ToolkitError: for a theme that there is not.

    Example:
        >>> template("dark")["layout"]["font"]["color"]
        '#DDDDDD'
    """
    if theme not in get_args(ThemeName):
        raise ToolkitError(f"theme={theme!r}: must be one of {', '.join(get_args(ThemeName))}.")
    colours = THEMES[theme]
    axis = {"gridcolor": colours.grid, "zeroline": False, "automargin": True}
    # Invisible ticks keep the two axes' labels apart in the corner.
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
    """A unit that reads well.

    Attributes:
        scale: what to multiply the base unit (seconds, bytes) with.
        name: the unit's name.
    """

    scale: float
    name: str


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
