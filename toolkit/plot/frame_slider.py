"""A slider over frames that needs no kernel: the figure holds all frames, and each step shows one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.errors import ToolkitError

MOST_FRAMES = 48
HEIGHT = 84
"""Pixels that a slider takes below the axes."""


def check_frames(numbers: Sequence[int], count: int) -> list[int]:
    """The frames of a slider, without repetitions.

    Raises:
        ToolkitError: If a frame does not exist, or there are no frames, or more than 48.
    """
    chosen = list(dict.fromkeys(numbers))
    if not chosen or len(chosen) > MOST_FRAMES:
        raise ToolkitError(
            f"{len(chosen)} frames: a figure holds 1 to {MOST_FRAMES}; choose fewer, for example range(0, {count}, 4)."
        )
    wrong = [frame for frame in chosen if not 0 <= frame < count]
    if wrong:
        raise ToolkitError(f"frame={wrong[0]}: must lie in 0..{count - 1}.")
    return chosen


def at_first(traces: Sequence[Sequence[Mapping[str, Any]]], first: int) -> list[dict[str, Any]]:
    """The traces of all frames in one list; only those of the frame at position ``first`` are visible."""
    return [{**trace, "visible": place == first} for place, each in enumerate(traces) for trace in each]


def frame_slider(
    numbers: Sequence[int], first: int, *, each: int, others: int, titles: Sequence[str]
) -> dict[str, Any]:
    """A slider in plotly's format, for ``layout.sliders``.

    Args:
        numbers: Numbers of the frames.
        first: Position of the frame to show first.
        each: Number of traces per frame; these come before all other traces.
        others: Number of traces that are always visible.
        titles: The figure's title for each frame.
    """
    steps = []
    for place, (number, title) in enumerate(zip(numbers, titles, strict=True)):
        visible = [place == frame for frame in range(len(numbers)) for _ in range(each)] + [True] * others
        steps.append({"label": str(number), "method": "update", "args": [{"visible": visible}, {"title.text": title}]})
    return slider(steps, first, prefix="frame ")


def slider(steps: Sequence[Mapping[str, Any]], active: int, *, prefix: str) -> dict[str, Any]:
    """A slider below the axes, in colours that are readable on any page."""
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
    """The padding that puts a slider below the sliders above it."""
    return {"pad": {"t": 56 + HEIGHT * len(others)}}
