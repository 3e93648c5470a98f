"""The controls of a microscope."""

from __future__ import annotations

from typing import Any

import pandas as pd
from ipywidgets import Dropdown, FloatLogSlider, Layout

from toolkit.widgets.microscope_seams import in_words
from toolkit.widgets.settings import choice, count

NO_SEAM = -1
"""The value of the list of seams while none is chosen."""

MOST_ZOOM, MOST_DOUBLINGS, MOST_SEAMS = 32, 16, 60
_LOOK: dict[str, Any] = {"style": {"description_width": "6.5em"}, "tabbable": True}


def microscope_controls(
    seams: pd.DataFrame,
    start: tuple[int, int, int],
    *,
    shape: tuple[int, int],
    frames: int,
    zoom: int,
    doublings: int,
) -> dict[str, Any]:
    """Sliders and lists by name, in Tab order.

    Args:
        seams: One row per seam, worst first.
        start: Initial frame, row and column.
        shape: Height and width of a frame.
        frames: Number of frames; a single one needs no slider.
        zoom: Initial side of each cell, in screen pixels.
        doublings: Initial amplification, as a power of two.

    Raises:
        PlanError: If an initial value is outside its slider's range.
    """
    frame, h, w = start
    height, width = shape
    pixel = "of the cell in the middle, in pixels."
    controls: dict[str, Any] = {
        "seam": _seam_list(seams),
        "centre_h": count("centre h", h, most=height - 1, hint=f"Row {pixel}", least=0),
        "centre_w": count("centre w", w, most=width - 1, hint=f"Column {pixel}", least=0),
        "zoom": count("zoom", zoom, most=MOST_ZOOM, hint="Screen pixels along a side of each pixel of the frame."),
        "amplification": FloatLogSlider(
            2.0**doublings,
            base=2,
            min=0,
            max=MOST_DOUBLINGS,
            step=1,
            readout_format="d",
            description="amplification",
            tooltip="Factor on errors before they are drawn; every step doubles it.",
            layout=Layout(width="23em"),
            **_LOOK,
        ),
        "shown": choice(
            "error", ["absolute", "signed"], value="absolute", hint="Whether colours show the error's sign."
        ),
    }
    if frames > 1:
        hint = "Frame, numbered in the order (b t)."
        controls["frame"] = count("frame", frame, most=frames - 1, hint=hint, least=0)
    return controls


def _seam_list(seams: pd.DataFrame) -> Dropdown:
    options = [("-", NO_SEAM)]
    options += [(in_words(place, row), place) for place, (_, row) in enumerate(seams.head(MOST_SEAMS).iterrows())]
    return Dropdown(
        options=options,
        value=0 if len(options) > 1 else NO_SEAM,
        description="go to seam",
        tooltip="Worst first, by the ratio of the error there to the interior's.",
        disabled=len(options) == 1,
        layout=Layout(width="23em"),
        **_LOOK,
    )
