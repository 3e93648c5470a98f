"""The error of one frame as a picture, with the seams drawn over it."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from plotly.colors import sample_colorscale
from torch import Tensor
from torch.nn.functional import max_pool2d

from toolkit.errors import ToolkitError
from toolkit.geometry.palette import SEQUENTIAL
from toolkit.measure.compare import Comparison
from toolkit.numerics.metrics import frames
from toolkit.numerics.sample_grid import sample_grid
from toolkit.numerics.seams import seam_lines
from toolkit.plot.figure import WIDTH, Figure, make
from toolkit.plot.theme import ThemeName

MAX_PNG_BYTES = 180_000
LEVELS = 32
HOVER_CELLS = 48
LIMITS = (1e-4, 1.0)


def seams(
    comparison: Comparison,
    frame: int = 0,
    *,
    limits: tuple[float, float] = LIMITS,
    theme: ThemeName = "neutral",
) -> Figure:
    """Draw one frame's absolute error against the reference, the largest over channels, and the seams.

    Colours are logarithmic over the same fixed range in every picture, so that two pictures can be compared.
    The pixels travel as a PNG: where that would be large, each pixel shows the largest error of a block of 2
    x 2 or more.

    Args:
        comparison: what :func:`toolkit.compare` gave.
        frame: which frame, in the order ``(b t)``.
        limits: the errors at the two ends of the colour bar.
        theme: ``"neutral"`` reads on light and dark pages.

    Raises:
        ToolkitError: where there is no such frame, or ``limits`` are not two rising numbers above 0.

    Example:
        >>> import torch
        >>> from toolkit.measure.compare import compare
        >>> sample = torch.zeros(1, 3, 32, 48)
        >>> seams(compare(sample + 0.5, sample, name="tiled", reference_name="untiled")).describe()
        'Absolute error of tiled against untiled, frame 0 of 1, 32 x 48 px: at most 0.5, 0.5 on average.'
    """
    error = _frame(comparison, frame)
    if not 0 < limits[0] < limits[1]:
        raise ToolkitError(f"limits={limits}: must be two rising numbers above 0; errors are drawn on a log scale.")
    height, width = error.shape
    pixels, block = _encode(error, limits)
    picture = {
        "type": "image",
        "source": f"data:image/png;base64,{b64encode(pixels).decode()}",
        "x0": block / 2,
        "y0": block / 2,
        "dx": block,
        "dy": block,
        "hoverinfo": "skip",
    }
    return make(
        [picture, _hover_cells(error), _colour_bar(limits)],
        _layout(comparison, (height, width)),
        title=f"|error| of {comparison.name} against {comparison.reference}, frame {frame}{_note(block)}",
        description=f"Absolute error of {comparison.name} against {comparison.reference}, frame {frame} of "
        f"{len(comparison.per_frame)}, {height} x {width} px: at most {float(error.max()):.3g}, "
        f"{float(error.mean()):.3g} on average.",
        height=min(max(round((WIDTH - 190) * height / width), 160), 760) + 120,
        theme=theme,
    )


def _frame(comparison: Comparison, frame: int) -> Tensor:
    every = frames(comparison.error)
    if not 0 <= frame < len(every):
        raise ToolkitError(f"frame={frame}: must lie in 0..{len(every) - 1}.")
    return every[frame].abs().amax(dim=0)


def _note(block: int) -> str:
    return "" if block == 1 else f" (largest of {block} x {block} px)"


def _encode(error: Tensor, limits: tuple[float, float]) -> tuple[bytes, int]:
    """The picture as a PNG of at most :data:`MAX_PNG_BYTES`, and the side of each pixel's block."""
    block = 1
    while True:
        data = _png(_pool(error, block).numpy(), limits)
        if len(data) <= MAX_PNG_BYTES:
            return data, block
        block += 1


def _pool(error: Tensor, block: int) -> Tensor:
    return max_pool2d(error[None], block, ceil_mode=True)[0] if block > 1 else error


def _png(error: npt.NDArray[np.floating[Any]], limits: tuple[float, float]) -> bytes:
    low, high = np.log10(limits)
    with np.errstate(divide="ignore"):
        place = (np.log10(error.astype(np.float64)) - low) / (high - low)
    # A NaN is the worst error there is.
    index = np.rint(np.nan_to_num(place, nan=1.0, neginf=0.0).clip(0, 1) * (LEVELS - 1)).astype(np.uint8)
    image = Image.fromarray(index, mode="P")
    image.putpalette(_palette())
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _palette() -> list[int]:
    colours = sample_colorscale(SEQUENTIAL, LEVELS, colortype="tuple")
    return [round(part * 255) for colour in colours for part in colour]


def _hover_cells(error: Tensor) -> dict[str, Any]:
    """A transparent heatmap of the largest error per block: hover without the numbers of every pixel."""
    block = -(-max(error.shape) // HOVER_CELLS)
    return {
        "type": "heatmap",
        "z": _pool(error, block).numpy().astype(np.float32),
        "x0": block / 2,
        "y0": block / 2,
        "dx": block,
        "dy": block,
        "opacity": 0,
        "showscale": False,
        "hovertemplate": f"at most %{{z:.2e}}<br>in {block} x {block} px around w %{{x}}, h %{{y}}<extra></extra>",
    }


def _colour_bar(limits: tuple[float, float]) -> dict[str, Any]:
    low, high = np.log10(limits)
    decades = [float(d) for d in range(int(np.ceil(low)), int(np.floor(high)) + 1)]
    ticks = decades if len(decades) > 1 else [float(low), float(high)]
    labels = [f"{10**tick:.3g}" for tick in ticks]
    if ticks[0] == low:
        labels[0] = f"≤ {labels[0]}"
    if ticks[-1] == high:
        labels[-1] = f"≥ {labels[-1]}"
    bar = {"title": {"text": "|error|"}, "tickvals": ticks, "ticktext": labels, "thickness": 16}
    scale = {"colorscale": SEQUENTIAL, "cmin": low, "cmax": high, "color": [low], "showscale": True}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "marker": {**scale, "colorbar": bar},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _layout(comparison: Comparison, shape: tuple[int, int]) -> dict[str, Any]:
    height, width = shape
    axis = {"showgrid": False, "constrain": "domain"}
    return {
        "xaxis": {**axis, "title": {"text": "w (px)"}, "range": [0, width]},
        "yaxis": {**axis, "title": {"text": "h (px)"}, "range": [height, 0], "scaleanchor": "x"},
        "shapes": _seam_shapes(comparison, shape),
    }


def _seam_shapes(comparison: Comparison, shape: tuple[int, int]) -> list[dict[str, Any]]:
    """The outlines of the overlaps, faint, and the seam's line in the middle of each."""
    if comparison.grid is None:
        return []
    grid = sample_grid(comparison.grid, comparison.error.shape, comparison.ratio)
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
                # No fill: it would change the colours that are to be read.
                edge = {"color": "rgba(255,255,255,0.4)", "width": 1}
                shapes.append({"type": "rect", **band, **whole, "line": edge})
            stroke = {"color": "rgba(255,255,255,0.9)", "width": 1.5, "dash": "dot"}
            shapes.append({"type": "line", **middle, **whole, "line": stroke})
    return shapes
