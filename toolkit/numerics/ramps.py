"""Ramps: blend weights over an overlap, and the windows that they make of whole tiles."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from toolkit.geometry.blend import Ramp
from toolkit.geometry.span import Span


def rising(ramp: Ramp, size: int) -> Tensor:
    """Weights of the later tile over an overlap of ``size`` cells, sampled at cell centres. float64.

    The earlier tile's weights are one minus these.

    Example:
        >>> rising("linear", 4).tolist(), rising("crop", 4).tolist()
        ([0.125, 0.375, 0.625, 0.875], [0.0, 0.0, 1.0, 1.0])
    """
    place = (torch.arange(size, dtype=torch.float64) + 0.5) / max(size, 1)
    if ramp == "crop":
        return (place >= 0.5).to(torch.float64)
    if ramp == "cosine":
        return torch.sin(place * (math.pi / 2)) ** 2
    return place


def windows(spans: tuple[Span, ...], ratio: int, ramp: Ramp) -> list[Tensor]:
    """One weight per sample cell for each tile of a row; at every cell the weights of all tiles sum to one. float64.

    Each tile rises over its overlap with the tile before it and falls over the one with the tile after it. Where three
    or more tiles meet, what that gives is divided by its sum.

    Args:
        spans: the tiles along one axis, in latent units.
        ratio: sample cells per latent cell.
        ramp: the weights over an overlap.

    Example:
        >>> [w.tolist() for w in windows((Span(0, 3), Span(2, 4)), 2, "linear")]
        [[1.0, 1.0, 1.0, 1.0, 0.75, 0.25], [0.25, 0.75, 1.0, 1.0]]
    """
    raw = [torch.ones(len(span) * ratio, dtype=torch.float64) for span in spans]
    for i, (before, after) in enumerate(itertools.pairwise(spans)):
        size = len(before & after) * ratio
        if size:
            rise = rising(ramp, size)
            raw[i + 1][:size] *= rise
            raw[i][-size:] *= 1 - rise
    total = torch.zeros(spans[-1].stop * ratio, dtype=torch.float64)
    for span, weight in zip(spans, raw, strict=True):
        total[span.start * ratio : span.stop * ratio] += weight
    return [w / total[s.start * ratio : s.stop * ratio] for s, w in zip(spans, raw, strict=True)]
