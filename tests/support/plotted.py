"""What tests of figures share: comparisons to draw, and the size and pixels of a figure."""

from __future__ import annotations

import base64
import json
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from skimage.data import astronaut

from toolkit import plot
from toolkit.analysis.compare import Comparison, compare
from toolkit.geometry import TileGrid

LIMIT = 500_000

GRID = TileGrid.cover({"h": 12, "w": 20}, tile=8, overlap=2)


def comparison(scale: float = 0.02, name: str = "tiled", grid: TileGrid | None = GRID) -> Comparison:
    random = torch.Generator().manual_seed(0)
    a = torch.randn(1, 3, 48, 80, generator=random) * 0.3
    b = a + scale * torch.randn(1, 3, 48, 80, generator=random)
    return compare(b, a, grid, name=name, reference_name="untiled")


def video(frames: int = 3, side: int = 32, scale: float = 0.02) -> Comparison:
    """A video whose later frames differ more from their reference."""
    random = torch.Generator().manual_seed(0)
    steps = torch.linspace(-1, 1, side)
    a = (steps[:, None] * steps).expand(1, 3, frames, side, side).contiguous()
    amount = scale * torch.arange(1, frames + 1).view(-1, 1, 1) / frames
    b = a + amount * torch.randn(a.shape, generator=random)
    grid = TileGrid.cover({"h": side // 8, "w": side // 8}, tile=max(2, side // 16), overlap=1)
    return compare(b, a, grid, name="tiled", reference_name="untiled")


def weight(figure: plot.Figure) -> int:
    """Bytes that a figure takes in a saved notebook, which has one value a line."""
    return len(json.dumps({"cells": [{"outputs": [{"data": figure._repr_mimebundle_()}]}]}, indent=1))


def pixels(figure: plot.Figure) -> np.ndarray:
    """Indices into the colour scale."""
    source = next(trace.source for trace in figure.data if trace.type == "image")
    return np.asarray(Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))))


def of(error: torch.Tensor, base: float | torch.Tensor = 0.0) -> Comparison:
    reference = torch.zeros_like(error) + base
    return compare(reference + error, reference, name="tiled", reference_name="untiled")


def photo_video(frames: int = 17, side: int = 256, noise: float = 0.02) -> Comparison:
    """A moving photograph with noise, which does not compress well."""
    random = torch.Generator().manual_seed(0)
    still = torch.from_numpy(astronaut()[:side, 100 : 100 + side].copy()).permute(2, 0, 1).float() / 127.5 - 1
    clip = torch.stack([still.roll(4 * step, -1) for step in range(frames)], 1)[None]
    grid = TileGrid.cover({"h": side // 8, "w": side // 8}, tile=side // 16 + 2, overlap=4)
    return compare(clip + noise * torch.randn(clip.shape, generator=random), clip, grid, name="a", reference_name="b")


def shown(figure: plot.Figure) -> list[int]:
    return [place for place, trace in enumerate(figure.data) if trace.visible in (None, True)]


MEGA = 1_000_000


def trace_pixels(trace) -> np.ndarray:
    """The pixels of an image trace."""
    return np.asarray(Image.open(BytesIO(base64.b64decode(trace.source.partition(",")[2]))))
