"""Errors as pixels: their colours, small PNGs of them, and numbers to hover over."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from plotly.colors import sample_colorscale
from torch import Tensor, where
from torch.nn.functional import max_pool2d

from toolkit.analysis.compare import Comparison
from toolkit.errors import PlanError
from toolkit.geometry.drawing.palette import DIVERGING, SEQUENTIAL
from toolkit.numerics.metrics import frames

MAX_PNG_BYTES = 180_000
LEVELS = 32
LIMITS = (1e-4, 1.0)


@dataclass(frozen=True, slots=True)
class ErrorScale:
    """The mapping from errors to colours: logarithmic, and the same in every picture with the same limits.

    Attributes:
        limits: The absolute errors at the two ends of the scale.
        signed: Whether errors have a sign. If so, errors below the first limit get the colour in the middle.

    Example:
        >>> ErrorScale((0.01, 1.0)).place(np.array([0.0, 0.1, 5.0]))
        array([0. , 0.5, 1. ])
        >>> ErrorScale((0.01, 1.0), signed=True).place(np.array([-0.1, 0.001, 5.0]))
        array([0.25, 0.5 , 1.  ])
    """

    limits: tuple[float, float] = LIMITS
    signed: bool = False

    def __post_init__(self) -> None:
        low, high = self.limits
        if not (0 < low < high and isfinite(high)):
            raise PlanError(
                f"limits={self.limits}: errors are drawn on a log scale, so give two rising positive numbers."
            )

    @property
    def levels(self) -> int:
        """The number of colours; signed errors have one extra in the middle."""
        return 2 * LEVELS + 1 if self.signed else LEVELS

    @property
    def colours(self) -> str:
        """Plotly's name for the colour scale."""
        return DIVERGING if self.signed else SEQUENTIAL

    @property
    def name(self) -> str:
        """The quantity drawn, for titles."""
        return "error" if self.signed else "|error|"

    def place(self, error: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """The position of an error on the scale, 0 to 1. NaN counts as the largest possible error."""
        low, high = np.log10(self.limits)
        with np.errstate(divide="ignore"):
            size = (np.log10(np.abs(error.astype(np.float64))) - low) / (high - low)
        size = np.nan_to_num(size, nan=1.0, neginf=0.0).clip(0, 1)
        return 0.5 + 0.5 * np.where(error < 0, -size, size) if self.signed else size

    def bar(self, axis: str = "x") -> dict[str, Any]:
        """A trace that draws only the colour bar."""
        ticks, labels = self._ticks()
        bar = {"title": {"text": self.name}, "tickvals": ticks, "ticktext": labels, "thickness": 16}
        low, high = (-1.0, 1.0) if self.signed else np.log10(self.limits)
        scale = {"colorscale": self.colours, "cmin": low, "cmax": high, "color": [low], "showscale": True}
        return {
            "type": "scatter",
            "mode": "markers",
            "x": [None],
            "y": [None],
            "marker": {**scale, "colorbar": bar},
            "hoverinfo": "skip",
            "showlegend": False,
        } | ({} if axis == "x" else {"xaxis": axis, "yaxis": axis.replace("x", "y")})

    def _ticks(self) -> tuple[list[float], list[str]]:
        low, high = np.log10(self.limits)
        decades = [float(d) for d in range(int(np.ceil(low)), int(np.floor(high)) + 1)]
        ticks = decades if len(decades) > 1 else [float(low), float(high)]
        labels = [f"{10**tick:.3g}" for tick in ticks]
        if self.signed:
            sizes = [(tick - low) / (high - low) for tick in ticks if tick > low]
            above = [f"+{label}" for tick, label in zip(ticks, labels, strict=True) if tick > low]
            below = [label.replace("+", "-") for label in above]
            centre = f"< {self.limits[0]:.3g}"
            return [*(-size for size in sizes[::-1]), 0.0, *sizes], [*below[::-1], centre, *above]
        if ticks[0] == low:
            labels[0] = f"≤ {labels[0]}"
        if ticks[-1] == high:
            labels[-1] = f"≥ {labels[-1]}"
        return ticks, labels


def frame_error(comparison: Comparison, frame: int, *, signed: bool) -> Tensor:
    """The error of one frame, ``h w``: the largest over channels, with its sign if ``signed``."""
    error = frames(comparison.error)[frame]
    if not signed:
        return error.abs().amax(dim=0)
    return error.gather(0, error.abs().argmax(dim=0, keepdim=True))[0]


def pool(error: Tensor, block: int) -> Tensor:
    """The largest error of each block, with its sign.

    Example:
        >>> pool(Tensor([[1.0, -3.0], [2.0, 0.0]]), 2)
        tensor([[-3.]])
    """
    if block == 1:
        return error
    high, low = (sign * max_pool2d(sign * error[None], block, ceil_mode=True)[0] for sign in (1, -1))
    return where(high >= -low, high, low)


def encode(errors: Sequence[Tensor], scale: ErrorScale, *, budget: int = MAX_PNG_BYTES) -> tuple[list[bytes], int]:
    """The errors as PNGs of at most ``budget`` bytes together, and the block size that each pixel stands for."""
    block = 1
    while True:
        pictures = [_png(pool(error, block).numpy(), scale) for error in errors]
        if sum(map(len, pictures)) <= budget:
            return pictures, block
        block += 1


def image(picture: bytes, block: float, *, kind: str = "png") -> dict[str, Any]:
    """An image trace whose pixels are ``block`` wide and high."""
    return {
        "type": "image",
        "source": f"data:image/{kind};base64,{b64encode(picture).decode()}",
        "x0": block / 2,
        "y0": block / 2,
        "dx": block,
        "dy": block,
        "hoverinfo": "skip",
    }


def hover_cells(error: Tensor, cells: int, *, signed: bool) -> dict[str, Any]:
    """A transparent heatmap of the largest error per block, so that hovering does not need the value of every pixel."""
    block = hover_block(error, cells)
    what = "largest error" if signed else "at most"
    return {
        "type": "heatmap",
        "z": pool(error, block).numpy().astype(np.float32),
        "x0": block / 2,
        "y0": block / 2,
        "dx": block,
        "dy": block,
        "opacity": 0,
        "showscale": False,
        "hovertemplate": f"{what} %{{z:.2e}}<br>in {block} x {block} px around w %{{x}}, h %{{y}}<extra></extra>",
    }


def hover_block(error: Tensor, cells: int) -> int:
    """The block size that divides the longer side of a picture into ``cells`` blocks."""
    return -(-max(error.shape) // cells)


def error_table(errors: Sequence[Tensor], numbers: Sequence[int], *, cells: int, name: str) -> pd.DataFrame:
    """The numbers that hovering shows: one row per block of each frame."""
    parts = []
    for error, frame in zip(errors, numbers, strict=True):
        block = hover_block(error, cells)
        z = pool(error, block).numpy()
        h, w = (block * (np.arange(count) + 0.5) for count in z.shape)
        places = {"frame": frame, "h (px)": np.repeat(h, len(w)), "w (px)": np.tile(w, len(h)), "block (px)": block}
        parts.append(pd.DataFrame({**places, f"largest {name}": z.ravel()}))
    return pd.concat(parts)


def _png(error: npt.NDArray[np.floating[Any]], scale: ErrorScale) -> bytes:
    index = np.rint(scale.place(error) * (scale.levels - 1)).astype(np.uint8)
    picture = Image.fromarray(index, mode="P")
    colours = sample_colorscale(scale.colours, scale.levels, colortype="tuple")
    picture.putpalette([round(part * 255) for colour in colours for part in colour])
    buffer = BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
