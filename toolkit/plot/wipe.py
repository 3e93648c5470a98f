"""Two pictures in the same place with a border between them that can be moved without a kernel."""

from __future__ import annotations

from typing import Any

from toolkit.plot.figure import WIDTH
from toolkit.plot.frame_slider import slider

LEFT, RIGHT, TOP, BOTTOM = 64, 24, 84, 52
TALLEST = 440
STEPS = 20
LEAST = 0.002
"""Least width of a picture, as a fraction of the whole: plotly would draw axes of no width in full."""


def wipe_layout(shape: tuple[int, ...], names: tuple[str, str]) -> dict[str, Any]:
    """Axes of the pictures to the left (``x``) and right (``x2``) of the border, which starts in the middle.

    Each pair of axes shows its own part of the picture at the same scale, so only the border moves. Zooming would break
    that, so it is disabled.
    """
    height, width = shape
    drawn = min((WIDTH - LEFT - RIGHT) * height / width, TALLEST)
    still = {"showgrid": False, "fixedrange": True, "automargin": False}
    down = {**still, "range": [height, 0]}
    axes, stroke = _border(shape, 0.5), {"color": "#FFFFFF", "width": 2}
    return {
        "height": round(drawn) + TOP + BOTTOM,
        "margin": {"l": LEFT, "r": RIGHT, "t": TOP},
        "xaxis": {**still, "title": {"text": "w (px)"}, "domain": axes["xaxis.domain"], "range": axes["xaxis.range"]},
        "xaxis2": {**still, "anchor": "y2", "domain": axes["xaxis2.domain"], "range": axes["xaxis2.range"]},
        "yaxis": {**down, "title": {"text": "h (px)"}},
        "yaxis2": {**down, "anchor": "x2", "showticklabels": False},
        "annotations": [
            _heading(names[0], 0.0, side="left"),
            _heading(names[1], axes["xaxis2.domain"][1], side="right"),
        ],
        "shapes": [
            {
                "type": "line",
                "xref": "paper",
                "yref": "paper",
                "x0": axes["shapes[0].x0"],
                "x1": axes["shapes[0].x1"],
                "y0": 0,
                "y1": 1,
                "line": stroke,
            }
        ],
    }


def wipe_slider(shape: tuple[int, ...]) -> dict[str, Any]:
    """A slider that moves the border."""
    steps = []
    for place in range(STEPS + 1):
        share = place / STEPS
        steps.append({"label": f"{100 * share:.0f}", "method": "relayout", "args": [_border(shape, share)]})
    return slider(steps, STEPS // 2, prefix="border at % of the width: ")


def _heading(name: str, x: float, *, side: str) -> dict[str, Any]:
    place = {"x": x, "y": 1.0, "xref": "paper", "yref": "paper", "xanchor": side, "yanchor": "bottom"}
    return {**place, "text": name, "showarrow": False}


def _border(shape: tuple[int, ...], share: float) -> dict[str, Any]:
    """The position of everything when the border is at a given share of the width."""
    height, width = shape
    whole = min(1.0, TALLEST * width / height / (WIDTH - LEFT - RIGHT))
    share = min(max(share, LEAST), 1 - LEAST)
    at = round(whole * share, 5)
    return {
        "xaxis.domain": [0, at],
        "xaxis.range": [0, width * share],
        "xaxis2.domain": [at, whole],
        "xaxis2.range": [width * share, width],
        "shapes[0].x0": at,
        "shapes[0].x1": at,
    }
