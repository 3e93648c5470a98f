"""Photographs that ship inside the scikit-image wheel, as tensors in [-1, 1]."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import skimage
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from skimage.io import imread
from torch import Tensor

# Kept out of training, so what the demo models do on them is what they can do on any picture.
HELD_OUT = {"coffee": "coffee.png", "chelsea": "chelsea.png"}

TRAINING = {
    "astronaut": "astronaut.png",
    "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg",
    "hubble": "hubble_deep_field.jpg",
    "retina": "retina.jpg",
    "tissue": "ihc.png",
    "camera": "camera.png",
    "brick": "brick.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "coins": "coins.png",
}

PHOTOGRAPHS = HELD_OUT | TRAINING


def image(name: str = "coffee", size: tuple[int, int] | None = None) -> Tensor:
    """Return a photograph, resized with antialiasing to cover ``size`` and cropped around its centre.

    Args:
        name: One of ``PHOTOGRAPHS``; the first two, "coffee" and "chelsea", were never trained on.
        size: Height and width in pixels. None: the pixels of the file, cropped to multiples of 8.

    Returns:
        One picture, ``b c h w`` in [-1, 1].

    Raises:
        ValueError: If there is no photograph of that name.
    """
    if name not in PHOTOGRAPHS:
        raise ValueError(f"no picture {name!r}; there are {', '.join(PHOTOGRAPHS)}")
    # A clone, because the file is read once and callers may write into what they get.
    picture = rearrange(_read(PHOTOGRAPHS[name]), "c h w -> 1 c h w").clone()
    height, width = picture.shape[-2:]
    if size is None:
        return centre_crop(picture, (height // 8 * 8, width // 8 * 8))
    scale = max(size[0] / height, size[1] / width)
    covering = (max(size[0], round(height * scale)), max(size[1], round(width * scale)))
    if covering != (height, width):
        picture = resize(picture, covering)
    return centre_crop(picture, size)


def resize(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a picture (b c h w) bicubically with antialiasing, still in [-1, 1]."""
    return F.interpolate(picture, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)


def centre_crop(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut the middle of a picture (b c h w)."""
    top, left = ((have - want) // 2 for have, want in zip(picture.shape[-2:], size, strict=True))
    return picture[..., top : top + size[0], left : left + size[1]].contiguous()


def from_uint8(pixels: np.ndarray) -> Tensor:
    """Convert the pixels of a file (h w, or h w c with an ignored alpha) to a tensor c h w in [-1, 1]."""
    tensor = torch.tensor(pixels, dtype=torch.float32) / 127.5 - 1
    return repeat(tensor, "h w -> c h w", c=3) if tensor.ndim == 2 else rearrange(tensor[..., :3], "h w c -> c h w")


@cache
def _read(file: str) -> Tensor:
    return from_uint8(imread(Path(skimage.__file__).parent / "data" / file))
