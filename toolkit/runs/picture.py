"""Outputs as pictures: what a model or a pipeline returned, for looking at it."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import Any

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from toolkit.errors import PlanError
from toolkit.geometry.checks import is_int, shown
from toolkit.numerics.frame_pixels import pixels, reduced

SMALL = 360
"""Most pixels along a side of the picture that a run shows of itself."""


def as_sample(output: Any) -> Tensor:
    """What an autoencoder or a pipeline returned as samples, ``b c h w`` or ``b c t h w`` in -1..1.

    Args:
        output: A tensor, which is returned as it is; a pipeline's pictures or frames as arrays ``b h w c`` or
            ``b t h w c`` in 0..1; or a list of PIL pictures, one per batch entry, each a list for a video.

    Raises:
        PlanError: If it is none of these.

    Example:
        >>> as_sample(np.ones((1, 5, 16, 8, 3))).shape
        torch.Size([1, 3, 5, 16, 8])
    """
    if isinstance(output, Tensor):
        return output
    entries = output if isinstance(output, list) else []
    videos = [entry if isinstance(entry, list) else [entry] for entry in entries]
    if videos and all(isinstance(frame, Image.Image) for video in videos for frame in video):
        frames = np.stack([np.stack([np.asarray(frame.convert("RGB")) for frame in video]) for video in videos]) / 255
        output = frames if isinstance(entries[0], list) else frames[:, 0]
    if not isinstance(output, np.ndarray) or output.ndim not in (4, 5):
        raise PlanError(f"output={shown(output)}: not pictures or frames; call the pipeline with another output_type.")
    values = torch.as_tensor(output) * 2 - 1
    return rearrange(values, "b t h w c -> b c t h w" if values.ndim == 5 else "b h w c -> b c h w")


def picture(sample: Any, *others: Any, frame: int | None = None) -> Image.Image:
    """One frame of each sample, side by side, as a picture that a notebook shows.

    Args:
        sample: A :class:`~toolkit.Run`, a tensor ``b c h w`` or ``b c t h w`` in -1..1, or what a pipeline gave. The
            first of a batch is drawn, in grey if it does not have three channels.
        *others: More of them, with frames of the same height.
        frame: Which frame of a video, counted from 0; None: the one in the middle.

    Raises:
        PlanError: If something is no sample, has no such frame, or heights differ.

    Example:
        >>> picture(torch.zeros(1, 3, 9, 16, 32), torch.ones(1, 3, 9, 16, 32), frame=0).size
        (64, 16)
    """
    frames = [_frame(getattr(one, "output", one), frame) for one in (sample, *others)]
    if len({one.shape[0] for one in frames}) > 1:
        sizes = ", ".join(f"{one.shape[0]} x {one.shape[1]}" for one in frames)
        raise PlanError(f"pictures of {sizes}: the heights must be equal to put them side by side.")
    return Image.fromarray(np.concatenate(frames, axis=1))


def thumbnail(output: Any) -> str:
    """An ``img`` element with a small picture of an output; empty if it is not three channels of something."""
    if not isinstance(output, Tensor | np.ndarray) or output.ndim not in (4, 5):
        return ""
    sample = as_sample(output)
    if sample.shape[1] != 3:
        return ""
    small = Image.fromarray(_frame(sample, None))
    small.thumbnail((SMALL, SMALL))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=85)
    what = "the middle frame of the output" if sample.ndim == 5 else "the output"
    data = b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="{what}" width="{small.width}">'


def _frame(output: Any, frame: int | None) -> Any:
    """One frame as ``h w 3`` of bytes."""
    sample = as_sample(output)
    if sample.ndim not in (4, 5):
        raise PlanError(f"a tensor of shape {tuple(sample.shape)}: a sample is b c h w or b c t h w.")
    first = sample[0].detach().cpu()
    if first.ndim == 4:
        count = first.shape[1]
        place = count // 2 if frame is None else frame
        if not is_int(place) or not 0 <= place < count:
            raise PlanError(f"frame={shown(frame)}: the video has {count} frames; give one from 0 to {count - 1}.")
        first = first[:, place]
    elif frame not in (None, 0):
        raise PlanError(f"frame={shown(frame)}: a picture has one frame; leave frame= out.")
    return pixels(reduced(first, 1))
