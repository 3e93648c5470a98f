"""An output beside its reference, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from math import inf
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from PIL import Image
from torch import Tensor

from toolkit.analysis.compare import Comparison
from toolkit.analysis.compare import compare as measure
from toolkit.errors import ToolkitError
from toolkit.geometry.checks import check_choice
from toolkit.numerics.frame_pixels import pixels, reduced
from toolkit.numerics.metrics import frames as frames_of
from toolkit.plot.error_pixels import ErrorScale, encode, frame_error, hover_cells, image
from toolkit.plot.figure import WIDTH, Figure, make
from toolkit.plot.frame_slider import HEIGHT, at_first, check_frames, frame_slider, under
from toolkit.plot.seam_image import seam_shapes
from toolkit.plot.theme import ThemeName
from toolkit.plot.wipe import wipe_layout, wipe_slider
from toolkit.runs.run import Run

Mode = Literal["side by side", "wipe"]
PICTURE_BYTES = {"side by side": 110_000, "wipe": 190_000}
ERROR_BYTES = 70_000
"""Byte budgets for all pictures of a figure, and for all its difference images."""

QUALITY = 85
SHOWN = 12
"""Number of frames on the slider by default."""

HOVER_CELLS = 16
MARGIN = {"l": 64, "r": 100, "t": 84}
GAP, TALLEST, LETTERS = 0.03, 560, 30


def compare(
    output: Comparison | Run | Tensor,
    reference: Run | Tensor | None = None,
    *,
    mode: Mode = "side by side",
    frames: Sequence[int] | None = None,
    frame: int | None = None,
    theme: ThemeName = "neutral",
) -> Figure:
    """Draw an output, its reference and their difference side by side, or the first two under a movable border.

    Zooming in one picture zooms in all of them. Pictures show values in -1..1: in colour if there are three channels,
    else the mean over channels. They are stored as JPEG, scaled down if there are many large ones, so look at them but
    read numbers off the difference. Its colours are those of ``seams(signed=True)``: blue below the reference, red
    above.

    Args:
        output: A comparison; or a run or a tensor ``b c h w`` or ``b c t h w``, together with ``reference``.
        reference: What to compare a run or a tensor with.
        mode: ``"side by side"``, or ``"wipe"``: the output to the left of a border, the reference to its right.
        frames: Frames on the slider, numbered in the order ``(b t)``. By default 12 evenly spaced frames and the frame
            that differs most.
        frame: The frame to show first, and in the PNG; by default the one that differs most.
        theme: ``"neutral"`` is readable on light and dark pages.

    Raises:
        ToolkitError: If a frame does not exist, the reference is missing, or the mode is unknown.

    Example:
        >>> import torch
        >>> sample = torch.zeros(1, 3, 32, 48)
        >>> compare(measure(sample + 0.5, sample, name="tiled", reference_name="untiled")).describe()
        'tiled beside untiled, frame 0 of 1, 32 x 48 px: largest difference 0.5, PSNR 12.04 dB.'
    """
    check_choice("mode", mode, choices=get_args(Mode))
    found = _comparison(output, reference)
    worst = int(found.per_frame["max_abs"].fillna(inf).argmax())
    numbers, first = _chosen(found, frames, frame=worst if frame is None else frame)
    pictures, block = _jpegs(found, numbers, budget=PICTURE_BYTES[mode])
    errors = [frame_error(found, number, signed=True) for number in numbers]
    titles = [_title(found, number, block=block) for number in numbers]
    if mode == "wipe":
        each = [_wiped(left, right, block=block) for left, right in pictures]
        others, layout = [], wipe_layout(errors[0].shape, (_short(found.name), _short(found.reference)))
    else:
        each, scale = _panels(pictures, errors, block=block), ErrorScale(signed=True)
        others, layout = [scale.bar("x3")], _side_layout(found)
    sliders = [wipe_slider(errors[0].shape)] if mode == "wipe" else []
    if len(numbers) > 1:
        sliders.append(
            frame_slider(numbers, first, each=len(each[0]), others=len(others), titles=titles) | under(sliders)
        )
    height = layout.pop("height") + HEIGHT * len(sliders)
    layout |= {"sliders": sliders, "margin": {**layout["margin"], "b": 52 + HEIGHT * len(sliders)}}
    return make(
        [*at_first(each, first), *others],
        layout,
        title=titles[first],
        description=_describe(found, numbers[first]),
        height=height,
        theme=theme,
        width=WIDTH,
        table=found.per_frame.iloc[numbers],
    )


def _comparison(output: Comparison | Run | Tensor, reference: Run | Tensor | None) -> Comparison:
    if isinstance(output, Comparison) != (reference is None):
        raise ToolkitError(
            "compare takes either one comparison, or a run or tensor together with its reference: compare(run, whole)."
        )
    return output if isinstance(output, Comparison) else measure(output, reference)  # type: ignore[arg-type]


def _chosen(found: Comparison, frames: Sequence[int] | None, *, frame: int) -> tuple[list[int], int]:
    """The frames on the slider, and the position of the one to show first."""
    count = len(found.per_frame)
    if frames is None:
        check_frames([frame], count)
        spaced = np.linspace(0, count - 1, min(count, SHOWN)).round().astype(int).tolist()
        frames = sorted({*spaced, frame})
    numbers = check_frames(frames, count)
    return numbers, numbers.index(frame) if frame in numbers else 0


def _jpegs(found: Comparison, numbers: Sequence[int], *, budget: int) -> tuple[list[list[bytes]], int]:
    """Output and reference of each frame as JPEG, and the block size: each pixel is the mean of a block of samples."""
    samples = [frames_of(sample) for sample in found.samples]
    block = 1
    while True:
        pictures = [[_jpeg(sample[number], block) for sample in samples] for number in numbers]
        if sum(len(data) for both in pictures for data in both) <= budget:
            return pictures, block
        block += 1


def _jpeg(frame: Tensor, block: int) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels(reduced(frame, block))).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _panels(pictures: list[list[bytes]], errors: list[Tensor], *, block: int) -> list[list[dict[str, Any]]]:
    """The traces of each frame: output, reference, difference, and the numbers to hover over."""
    differences, coarse = encode(errors, ErrorScale(signed=True), budget=ERROR_BYTES)
    return [
        [
            image(left, block, kind="jpeg"),
            image(right, block, kind="jpeg") | {"xaxis": "x2", "yaxis": "y2"},
            image(difference, coarse) | {"xaxis": "x3", "yaxis": "y3"},
            hover_cells(error, HOVER_CELLS, signed=True) | {"xaxis": "x3", "yaxis": "y3"},
        ]
        for (left, right), difference, error in zip(pictures, differences, errors, strict=True)
    ]


def _wiped(left: bytes, right: bytes, *, block: int) -> list[dict[str, Any]]:
    return [image(left, block, kind="jpeg"), image(right, block, kind="jpeg") | {"xaxis": "x2", "yaxis": "y2"}]


def _side_layout(found: Comparison) -> dict[str, Any]:
    """Three pictures in a row that zoom together."""
    height, width = found.error.shape[-2:]
    panel = (1 - 2 * GAP) / 3
    drawn = min((WIDTH - MARGIN["l"] - MARGIN["r"]) * panel * height / width, TALLEST)
    layout: dict[str, Any] = {"height": round(drawn) + MARGIN["t"] + 52, "margin": MARGIN, "annotations": []}
    for place, name in enumerate((found.name, found.reference, "difference, amplified")):
        number = str(place + 1) if place else ""
        left = place * (panel + GAP)
        axis = {"showgrid": False, "constrain": "domain"}
        layout[f"xaxis{number}"] = {
            **axis,
            "domain": [left, left + panel],
            "range": [0, width],
            "title": {"text": "w (px)"},
            **({"matches": "x", "anchor": f"y{number}"} if number else {}),
        }
        layout[f"yaxis{number}"] = {
            **axis,
            "range": [height, 0],
            "scaleanchor": f"x{number}",
            "title": {"text": "" if number else "h (px)"},
            **({"matches": "y", "anchor": f"x{number}", "showticklabels": False} if number else {}),
        }
        heading = {"text": _short(name), "x": left + panel / 2, "y": 1.0, "xref": "paper", "yref": "paper"}
        layout["annotations"].append({**heading, "xanchor": "center", "yanchor": "bottom", "showarrow": False})
    seams = seam_shapes(found, (height, width), ink="0,0,0")
    return layout | {"shapes": [shape | {"xref": "x3", "yref": "y3"} for shape in seams]}


def _title(found: Comparison, number: int, *, block: int) -> str:
    row = found.per_frame.iloc[number]
    small = "" if block == 1 else f"; pictures at 1/{block} of full size"
    return f"Frame {number}: {_apart(row)}{small}"


def _describe(found: Comparison, number: int) -> str:
    row, (height, width) = found.per_frame.iloc[number], found.error.shape[-2:]
    return (
        f"{found.name} beside {found.reference}, frame {number} of {len(found.per_frame)}, {height} x {width} px: "
        f"{_apart(row)}."
    )


def _apart(row: pd.Series) -> str:
    if row["max_abs"] == 0:
        return "identical"
    return f"largest difference {row['max_abs']:.3g}, PSNR {row['psnr']:.2f} dB"


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 3]}..."
