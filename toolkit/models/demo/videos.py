"""Videos made from photographs: a camera swaying over a picture, and an object swaying in front of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from toolkit.models.demo.photographs import image, resize


@dataclass(frozen=True)
class Sway:
    """A number that swings smoothly about a centre, so a video can have any length.

    Attributes:
        centre: The mean.
        amplitude: The largest distance from the mean.
        period: Frames of one swing there and back.
        phase: The place of frame 0 in the swing, as a fraction of the period.
    """

    centre: float
    amplitude: float = 0.0
    period: float = 48.0
    phase: float = 0.0

    def at(self, frames: int) -> Tensor:
        """Return the number at frames 0, 1, ..., ``frames`` - 1 (t)."""
        turns = torch.arange(frames) / self.period + self.phase
        return self.centre + self.amplitude * torch.sin(2 * math.pi * turns)


@dataclass(frozen=True)
class Camera:
    """The part of a picture that each frame shows.

    Attributes:
        y: Middle of the view, as a fraction of the picture's height.
        x: Middle of the view, as a fraction of the picture's width.
        view: Height of the view, as a fraction of the picture's height.
        angle: Rotation of the view in radians.
    """

    y: Sway = Sway(0.5)
    x: Sway = Sway(0.5)
    view: Sway = Sway(0.6)
    angle: Sway = Sway(0.0)

    def grid(self, picture: tuple[int, int], frames: int, *, size: tuple[int, int]) -> Tensor:
        """Return where in a picture each pixel of each frame looks (t h w xy, with the picture from -1 to 1).

        Args:
            picture: Height and width of the picture in pixels.
            frames: Number of frames.
            size: Height and width of a frame in pixels.
        """
        # Frames are turned in units of their height, in which both axes have the same scale; the picture's own
        # coordinates stretch its width to [-1, 1] too, which the aspect corrects.
        aspect = picture[1] / picture[0]
        rows = (torch.arange(size[0]) + 0.5) * 2 / size[0] - 1
        columns = ((torch.arange(size[1]) + 0.5) * 2 - size[1]) / size[0]
        view, angle, y, x = (
            rearrange(sway.at(frames), "t -> t 1 1") for sway in (self.view, self.angle, self.y, self.x)
        )
        row, column = torch.meshgrid(rows, columns, indexing="ij")
        down = view * (row * angle.cos() + column * angle.sin())
        right = view * (column * angle.cos() - row * angle.sin()) / aspect
        return torch.stack([right + 2 * x - 1, down + 2 * y - 1], dim=-1)


@dataclass(frozen=True)
class Scene:
    """A video in words.

    Attributes:
        background: Name of the photograph behind.
        camera: The camera that looks at it.
        object: Name of the photograph whose middle is cut out as a disc and moved in front, if any.
        path: The camera that looks at the object; the object moves opposite to it.
    """

    background: str
    camera: Camera
    object: str | None = None
    path: Camera = Camera()


VIDEOS = {
    "pan": Scene("coffee", Camera(y=Sway(0.5, 0.06, 60), x=Sway(0.5, 0.14, 72, 0.1), view=Sway(0.7))),
    "zoom": Scene("chelsea", Camera(view=Sway(0.75, 0.15, 64, 0.15), angle=Sway(0.0, 0.12, 80))),
    "object": Scene(
        "coffee",
        Camera(x=Sway(0.5, 0.04, 90), view=Sway(0.8)),
        object="chelsea",
        path=Camera(y=Sway(0.5, 0.2, 70, 0.2), x=Sway(0.5, 0.45, 56, 0.05), view=Sway(2.0), angle=Sway(0, 0.2, 64)),
    ),
}


def video(name: str = "pan", frames: int = 17, size: tuple[int, int] = (256, 256)) -> Tensor:
    """Make a video from the held-out photographs, the same at every call.

    Args:
        name: "pan" along the coffee, "zoom" and turn on chelsea, or "object": chelsea passing over the coffee.
        frames: Number of frames; 1 more than a multiple of 4 for a video model.
        size: Height and width in pixels.

    Returns:
        One video, ``b c t h w`` in [-1, 1].

    Raises:
        ValueError: If there is no video of that name.
    """
    if name not in VIDEOS:
        raise ValueError(f"no video {name!r}; there are {', '.join(VIDEOS)}")
    scene = VIDEOS[name]
    picture = image(scene.background)[0]
    front = disc(image(scene.object)[0]) if scene.object else None
    return rearrange(
        render(picture, scene.camera, frames=frames, size=size, front=front, path=scene.path), "t c h w -> 1 c t h w"
    )


def render(
    picture: Tensor,
    camera: Camera,
    *,
    frames: int,
    size: tuple[int, int],
    front: Tensor | None = None,
    path: Camera = Camera(),
) -> Tensor:
    """Render the frames (t c h w) that a camera sees of a picture with an object in front of it.

    Args:
        picture: The picture behind, c h w.
        camera: The camera that looks at it.
        frames: Number of frames.
        size: Height and width of a frame in pixels.
        front: The object, c+1 h w: colours times cover, then the cover. None: no object.
        path: The camera that looks at the object.
    """
    seen = shoot(picture, camera, frames=frames, size=size, padding="reflection")
    if front is not None:
        # Colours are already multiplied by the cover, so a half covered pixel adds half of its colour.
        layer = shoot(front, path, frames=frames, size=size, padding="zeros")
        colour, cover = layer[:, :-1], layer[:, -1:].clamp(0, 1)
        seen = seen * (1 - cover) + colour
    return seen.clamp(-1, 1)


def shoot(picture: Tensor, camera: Camera, *, frames: int, size: tuple[int, int], padding: str) -> Tensor:
    """Sample the frames (t c h w) that a camera sees of a picture (c h w), without aliasing."""
    scale = size[0] / (picture.shape[1] * (camera.view.centre - abs(camera.view.amplitude)))
    # Bicubic sampling does not average, so a picture with more pixels than the frames is shrunk first.
    if scale < 1:
        smaller = (max(8, round(picture.shape[1] * scale)), max(8, round(picture.shape[2] * scale)))
        picture = resize(picture[None], smaller)[0]
    grid = camera.grid((picture.shape[1], picture.shape[2]), frames, size=size)
    layers = picture.expand(frames, *picture.shape)
    return F.grid_sample(layers, grid, mode="bicubic", padding_mode=padding, align_corners=False)


def disc(picture: Tensor, edge: float = 0.06) -> Tensor:
    """Cut the middle of a picture (c h w) out as a disc (c+1 h h): colours times cover, then the cover, 0 outside."""
    height, width = picture.shape[1:]
    # The edge fades over a few percent of the radius, or it would flicker while the object moves.
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[:, top : top + side, left : left + side]
    ticks = (torch.arange(side) + 0.5) * 2 / side - 1
    radius = torch.hypot(ticks[:, None], ticks[None, :])
    cover = ((1 - edge - radius) / edge).clamp(0, 1)[None]
    return torch.cat([square * cover, cover])


def stack(clips: Sequence[Tensor]) -> Tensor:
    """Stack clips (t c h w) into one batch b c t h w."""
    return rearrange(list(clips), "b t c h w -> b c t h w")
