"""A slider over frames that needs no kernel: all frames are in the figure, and each step shows one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.errors import ToolkitError

MOST_FRAMES = 48
HEIGHT = 84
"""Pixels below the axes."""


def check_frames(numbers: Sequence[int], count: int) -> list[int]:
    """The frames of a slider.

    Raises:
        ToolkitError: for a frame that there is not, for none at all, and for more than 48.
    """
    chosen = list(dict.fromkeys(numbers))
    if not chosen or len(chosen) > MOST_FRAMES:
        raise ToolkitError(
            f"{len(chosen)} frames: one figure holds 1 to {MOST_FRAMES}; give e.g. range(0, {count}, 4)."
        )
    wrong = [frame for frame in chosen if not 0 <= frame < count]
    if wrong:
        raise ToolkitError(f"frame={wrong[0]}: must lie in 0..{count - 1}.")
    return chosen


def at_first(traces: Sequence[Sequence[Mapping[str, Any]]], first: int) -> list[dict[str, Any]]:
    """The traces of all frames in a row, those of the frame at place ``first`` visible."""
    return [{**trace, "visible": place == first} for place, each in enumerate(traces) for trace in each]


def frame_slider(numbers: Sequence[int], first: int, each: int, others: int, titles: Sequence[str]) -> dict[str, Any]:
    """A slider as plotly has it in ``layout.sliders``.

    Args:
        numbers: of the frames.
        first: place of the one that is shown at first.
        each: traces of each frame; they come before all others.
        others: traces that are always visible.
        titles: of the figure, for each frame.
    """
    steps = []
    for place, (number, title) in enumerate(zip(numbers, titles, strict=True)):
        visible = [place == frame for frame in range(len(numbers)) for _ in range(each)] + [True] * others
        steps.append({"label": str(number), "method": "update", "args": [{"visible": visible}, {"title.text": title}]})
    return slider(steps, first, "frame ")


def slider(steps: Sequence[Mapping[str, Any]], active: int, prefix: str) -> dict[str, Any]:
    """A slider below the axes, in colours that read on any page."""
    return {
        "active": active,
        "currentvalue": {"prefix": prefix, "font": {"size": 12}},
        "pad": {"t": 56},
        "bgcolor": "rgba(127,127,127,0.35)",
        "activebgcolor": "rgba(127,127,127,0.7)",
        "bordercolor": "rgba(127,127,127,0.6)",
        "tickcolor": "rgba(127,127,127,0.6)",
        "font": {"size": 10},
        "steps": list(steps),
    }


def under(others: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where a slider goes that has others above it."""
    return {"pad": {"t": 56 + HEIGHT * len(others)}}
