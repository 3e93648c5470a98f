"""Recognising what a clip shows from its pixels alone, to tell whether a sample follows its prompt."""

from __future__ import annotations

import torch
from torch import Tensor

from toolkit.models.demo.clips import COLOURS, MOTIONS, Sentence

FILLED = {"ball": 0.8, "square": 0.95, "triangle": 0.57}
"""The fraction of its bounding box that each shape covers, with corners a little blurred by the video model."""


def recognise(clip: Tensor) -> Sentence:
    """Return the sentence that fits a clip best.

    The background is the median colour, and the shape is what differs most from it. Its outline is read off the first
    frame, which the video model keeps sharp; its colour off all frames; its motion from the first frame to the last.

    Args:
        clip: A clip, ``c t h w`` in [-1, 1].

    Example:
        >>> from toolkit.models.demo.clips import clips
        >>> clip = clips([Sentence("blue", "square", "up")], torch.Generator().manual_seed(0))[0]
        >>> str(recognise(clip))
        'a blue square moves up'
    """
    behind = clip.flatten(1).median(1).values[:, None, None, None]
    # Half of the largest difference is the border between shape and background, also where pixels are half covered.
    apart = (clip - behind).norm(dim=0)
    inside = apart > 0.5 * apart.amax((1, 2), keepdim=True)
    return Sentence(_colour(clip, inside), _shape(inside[0]), _motion(inside))


def _colour(clip: Tensor, inside: Tensor) -> str:
    mean = clip[:, inside].mean(1)
    return min(COLOURS, key=lambda name: float((mean - torch.tensor(COLOURS[name])).norm()))


def _shape(inside: Tensor) -> str:
    y, x = inside.nonzero(as_tuple=True)
    filled = len(y) / float((y.max() - y.min() + 1) * (x.max() - x.min() + 1))
    return min(FILLED, key=lambda name: abs(filled - FILLED[name]))


def _motion(inside: Tensor) -> str:
    first, last = (inside[frame].nonzero().float().mean(0) for frame in (0, -1))
    return max(MOTIONS, key=lambda name: float((last - first) @ torch.tensor(MOTIONS[name]).float()))
