"""Endless random crops and clips of the training photographs."""

from __future__ import annotations

import torch
from einops import rearrange
from sklearn.datasets import load_sample_images
from torch import Generator, Tensor

from toolkit.models.demo.photographs import TRAINING, from_uint8, image, resize
from toolkit.models.demo.videos import Camera, Sway, disc, render, stack

SCALES = (1.0, 0.7, 0.5, 0.35)


class Photographs:
    """The training photographs at a few sizes, and random pieces of them.

    Args:
        smallest: The smallest side that a resized picture may have.

    Attributes:
        pictures: Every photograph at every size at which it is large enough (c h w each).
        shares: Relative frequency with which each is chosen.
    """

    def __init__(self, smallest: int) -> None:
        self.pictures: list[Tensor] = []
        self.shares: list[float] = []
        for picture in [*(image(name)[0] for name in TRAINING), *_sklearn_photographs()]:
            grey = bool((picture[0] == picture[1]).all())
            for scale in SCALES:
                size = (round(picture.shape[1] * scale), round(picture.shape[2] * scale))
                if min(size) >= smallest:
                    self.pictures.append(resize(picture[None], size)[0] if scale < 1 else picture)
                    # Large pictures have more to show; grey ones have no colour to teach.
                    self.shares.append((size[0] * size[1]) ** 0.25 * (0.4 if grey else 1.0))

    def crops(self, batch: int, side: int, *, generator: Generator) -> Tensor:
        """Draw random square crops, transposed, mirrored and tinted (b c h w)."""
        return torch.stack([self._crop(side, generator) for _ in range(batch)])

    def clips(self, batch: int, frames: int, *, side: int, generator: Generator) -> Tensor:
        """Draw random short videos with a swaying camera and, in half of them, an object (b c t h w)."""
        return stack([self._clip(frames, side, generator) for _ in range(batch)])

    def _choose(self, generator: Generator) -> Tensor:
        index = torch.multinomial(torch.tensor(self.shares), 1, generator=generator).item()
        return self.pictures[int(index)]

    def _crop(self, side: int, generator: Generator) -> Tensor:
        picture = self._choose(generator)
        top, left = (int(torch.randint(extent - side + 1, (), generator=generator)) for extent in picture.shape[1:])
        crop = picture[:, top : top + side, left : left + side]
        if _uniform(generator) < 0.5:
            crop = rearrange(crop, "c h w -> c w h")
        return tint(crop.flip(-1) if _uniform(generator) < 0.5 else crop, generator)

    def _clip(self, frames: int, side: int, generator: Generator) -> Tensor:
        picture = self._choose(generator)
        view = min(0.9, side / picture.shape[1] * _uniform(generator, 0.9, 1.3))
        front, path = None, Camera()
        if _uniform(generator) < 0.5:
            front = disc(resize(self._crop(2 * side // 3, generator)[None], (side, side))[0])
            path = random_camera(_uniform(generator, 1.2, 4.0), generator, reach=0.5)
        clip = render(picture, random_camera(view, generator), frames=frames, size=(side, side), front=front, path=path)
        if _uniform(generator) < 0.5:
            clip = clip.flip(-1)
        return tint(clip, generator)


def random_camera(view: float, generator: Generator, *, reach: float = 0.3) -> Camera:
    """Draw a camera that wanders about the picture and moves a few percent per frame.

    Args:
        view: Height of its view, as a fraction of the picture's.
        generator: Source of the random choices.
        reach: Largest distance of its middle from the picture's.
    """

    def sway(centre: float, speed: float) -> Sway:
        period = _uniform(generator, 30, 90)
        # 6.3 is 2 pi: the largest speed of a sine is its amplitude times 2 pi over its period.
        amplitude = speed * period / 6.3 * _uniform(generator) ** 1.5
        return Sway(centre, amplitude, period, _uniform(generator))

    y, x = (0.5 + reach * _uniform(generator, -1, 1) for _ in range(2))
    zoom = sway(view, 0.01 * view)
    return Camera(sway(y, 0.03 * view), sway(x, 0.03 * view), zoom, sway(_uniform(generator, -0.2, 0.2), 0.015))


def tint(pixels: Tensor, generator: Generator) -> Tensor:
    """Change the colour balance, contrast and brightness of pixels (... c h w), and at times the channels' order."""
    channels = pixels.shape[-3]
    if _uniform(generator) < 0.4:
        pixels = pixels[..., torch.randperm(channels, generator=generator), :, :]
    gain = 1 + 0.2 * torch.randn(channels, 1, 1, generator=generator)
    shift = 0.2 * torch.randn(channels, 1, 1, generator=generator)
    return (pixels * gain + shift).clamp(-1, 1)


def _uniform(generator: Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _sklearn_photographs() -> list[Tensor]:
    return [from_uint8(pixels) for pixels in load_sample_images().images]
