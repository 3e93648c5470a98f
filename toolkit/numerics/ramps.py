"""Ramps: blend weights over an overlap, and the weights of whole tiles."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from toolkit.geometry.blend import Ramp
from toolkit.geometry.span import Span


def rising(ramp: Ramp, size: int) -> Tensor:
    """The weights of the later tile over an overlap of ``size`` cells, sampled at cell centres, in float64.

    The earlier tile has one minus these weights.

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


def tile_weights(spans: tuple[Span, ...], ratio: int, *, ramp: Ramp, first: int | None = None) -> list[Tensor]:
    """The weight of each tile at each of its sample cells along one axis, in float64. They sum to one at every cell.

    The weights of a tile rise over its overlap with the previous tile and fall over its overlap with the next one.
    Where three or more tiles meet, they are divided by their sum.

    Args:
        spans: The tiles along one axis, in latent units.
        ratio: Sample cells per latent cell.
        ramp: The weights over an overlap.
        first: Sample cells of the first latent cell; None if it has as many as the others.

    Example:
        >>> [w.tolist() for w in tile_weights((Span(0, 3), Span(2, 4)), 2, ramp="linear")]
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
