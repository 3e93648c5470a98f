"""The error of frames as pictures, with the seams drawn over them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor

from toolkit.analysis.compare import Comparison
from toolkit.numerics.sample_grid import sample_grid
from toolkit.numerics.seams import seam_lines
from toolkit.plot.error_pixels import (
    LEVELS,
    LIMITS,
    ErrorScale,
    encode,
    error_table,
    frame_error,
    hover_cells,
    image,
)
from toolkit.plot.figure import WIDTH, Figure, make
from toolkit.plot.frame_slider import HEIGHT, at_first, check_frames, frame_slider
from toolkit.plot.theme import ThemeName
from toolkit.plot.wanted import comparisons_of

__all__ = ["LEVELS", "LIMITS", "seams"]

HOVER_CELLS, HOVER_CELLS_OF_MANY = 48, 20
INK = {False: "255,255,255", True: "0,0,0"}
"""Colour of the seams by whether errors are signed: no error is dark on the unsigned scale, light on the signed one."""


def seams(
    comparison: Comparison,
    frame: int = 0,
    *,
    frames: Sequence[int] | None = None,
    signed: bool = False,
    limits: tuple[float, float] = LIMITS,
    theme: ThemeName = "neutral",
) -> Figure:
    """Draw the error against the reference, largest over channels, and the seams.

    Colours are logarithmic over the same fixed range in every picture, so that pictures can be compared. The pixels are
    stored as a PNG. If that would be large, each pixel shows the largest error of a block of 2 x 2 pixels or more.

    Args:
        comparison: The result of :func:`toolkit.compare`.
        frame: The frame to draw, numbered in the order ``(b t)``.
        frames: Several frames, with a slider that needs no kernel. ``frame`` is shown first if it is among them.
        signed: Whether to tell values above the reference (red) from values below it (blue).
        limits: The absolute errors at the two ends of the colour bar.
        theme: ``"neutral"`` is readable on light and dark pages.

    Raises:
        ToolkitError: If a frame does not exist, or ``limits`` are not two rising positive numbers.

    Example:
        >>> import torch
        >>> from toolkit.analysis.compare import compare
        >>> sample = torch.zeros(1, 3, 32, 48)
        >>> seams(compare(sample + 0.5, sample, name="tiled", reference_name="untiled")).describe()
        'Absolute error of tiled against untiled, frame 0 of 1, 32 x 48 px: maximum 0.5, mean 0.5.'
    """
    comparisons_of([comparison])
    scale = ErrorScale(limits, signed)
    numbers = check_frames([frame] if frames is None else frames, len(comparison.per_frame))
    first = numbers.index(frame) if frame in numbers else 0
    errors = [frame_error(comparison, number, signed=signed) for number in numbers]
    pictures, block = encode(errors, scale)
    cells = HOVER_CELLS if len(numbers) == 1 else HOVER_CELLS_OF_MANY
    each = [
        [image(data, block), hover_cells(e, cells, signed=signed)] for data, e in zip(pictures, errors, strict=True)
    ]
    note = "" if block == 1 else f" (largest of {block} x {block} px)"
    against = f"{comparison.name} against {comparison.reference}"
    titles = [f"{scale.name} of {against}, frame {number}{note}" for number in numbers]
    height, width = errors[0].shape
    layout = _layout(comparison, (height, width), signed=signed)
    if frames is not None:
        layout["sliders"] = [frame_slider(numbers, first, each=2, others=1, titles=titles)]
        layout["margin"] = {"l": 64, "r": 24, "t": 56, "b": 52 + HEIGHT}
    return make(
        [*(at_first(each, first) if frames is not None else each[0]), scale.bar()],
        layout,
        title=titles[first],
        description=_describe(errors[first], f"{against}, frame {numbers[first]} of {len(comparison.per_frame)}"),
        height=min(max(round((WIDTH - 190) * height / width), 160), 760) + 120 + HEIGHT * (frames is not None),
        theme=theme,
        width=WIDTH,
        table=error_table(errors, numbers, cells=cells, name=scale.name),
    )


def _describe(error: Tensor, what: str) -> str:
    height, width = error.shape
    size = error.abs()
    return (
        f"Absolute error of {what}, {height} x {width} px: maximum {float(size.max()):.3g}, "
        f"mean {float(size.mean()):.3g}."
    )


def _layout(comparison: Comparison, shape: tuple[int, int], *, signed: bool) -> dict[str, Any]:
    height, width = shape
    axis = {"showgrid": False, "constrain": "domain"}
    return {
        "xaxis": {**axis, "title": {"text": "w (px)"}, "range": [0, width]},
        "yaxis": {**axis, "title": {"text": "h (px)"}, "range": [height, 0], "scaleanchor": "x"},
        "shapes": seam_shapes(comparison, shape, ink=INK[signed]),
    }


def seam_shapes(comparison: Comparison, shape: tuple[int, int], *, ink: str) -> list[dict[str, Any]]:
    """Faint outlines of the overlaps, and the seam's line in the middle of each."""
    if comparison.grid is None:
        return []
    grid = sample_grid(comparison.grid, comparison.error.shape, ratio=comparison.ratio)
    height, width = shape
    shapes = []
    for axis, row in zip(grid.axes, grid.rows, strict=True):
        if axis == "t":
            continue
        for line, (a, b) in zip(seam_lines(row), pairwise(row), strict=True):
            ends = [(a & b).start, (a & b).stop]
            band, middle = ({"x0": ends[0], "x1": ends[1]}, {"x0": line, "x1": line})
            whole = {"y0": 0, "y1": height}
            if axis == "h":
                band, middle = ({"y0": ends[0], "y1": ends[1]}, {"y0": line, "y1": line})
                whole = {"x0": 0, "x1": width}
            if ends[0] < ends[1]:
                # No fill: it would change the colours that readers look up on the scale.
                edge = {"color": f"rgba({ink},0.4)", "width": 1}
                shapes.append({"type": "rect", **band, **whole, "line": edge})
            stroke = {"color": f"rgba({ink},0.9)", "width": 1.5, "dash": "dot"}
            shapes.append({"type": "line", **middle, **whole, "line": stroke})
    return shapes
