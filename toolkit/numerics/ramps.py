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


def windows(spans: tuple[Span, ...], ratio: int, ramp: Ramp, first: int | None = None) -> list[Tensor]:
    """One weight per sample cell for each tile of a row; at every cell the weights of all tiles sum to one. float64.

    Each tile rises over its overlap with the tile before it and falls over the one with the tile after it. Where three
    or more tiles meet, what that gives is divided by its sum.

    Args:
        spans: the tiles along one axis, in latent units.
        ratio: sample cells per latent cell.
        ramp: the weights over an overlap.
        first: sample cells of the first latent cell; ``ratio`` where None.

    Example:
        >>> [w.tolist() for w in windows((Span(0, 3), Span(2, 4)), 2, "linear")]
        [[1.0, 1.0, 1.0, 1.0, 0.75, 0.25], [0.25, 0.75, 1.0, 1.0]]
    """
    lag = ratio - first if first is not None else 0
    cells = [Span(max(0, span.start * ratio - lag), span.stop * ratio - lag) for span in spans]
    raw = [torch.ones(len(span), dtype=torch.float64) for span in cells]
    for i, (before, after) in enumerate(itertools.pairwise(cells)):
        size = len(before & after)
        if size:
            rise = rising(ramp, size)
            raw[i + 1][:size] *= rise
            raw[i][-size:] *= 1 - rise
    total = torch.zeros(cells[-1].stop, dtype=torch.float64)
    for span, weight in zip(cells, raw, strict=True):
        total[span.start : span.stop] += weight
    return [w / total[s.start : s.stop] for s, w in zip(cells, raw, strict=True)]
