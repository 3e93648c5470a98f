"""A convolution that begins before its neighbours' rows are there.

With zeros in place of the halo every row but those at the borders is right already. They are computed once more when
the rows have come: messages travel beside the computation, and the map is not copied to make room for a halo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.exchange import Message
from toolkit.distributed.sharding.context import Shard
from toolkit.distributed.sharding.halo import post
from toolkit.distributed.sharding.strip import Strip
from toolkit.geometry.span import Span
from toolkit.numerics.convolution import convolve


@dataclass(frozen=True, slots=True)
class Window:
    """A convolution without its input and padding."""

    func: Callable[..., Any]
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def __call__(self, shard: Shard, x: Tensor, padding: tuple[int, ...]) -> Tensor:
        """Convolve ``x``, by the kernels that the run asks for."""
        given = x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        out: Tensor = convolve(self.func, *given) if shard.convolutions == "onednn" else self.func(*given)
        return out

    def reach(self, place: int) -> int:
        """Rows that it looks at, from the first to the last."""
        return (self.weight.shape[2 + place] - 1) * self.dilation[place] + 1


def begins_early(shard: Shard, window: Window, strip: Strip, place: int, pad: int) -> bool:
    """Whether the rows at the borders can be computed apart: a step of one row, and rows enough of each rank's own."""
    return (
        shard.plan.borders == "exchange"
        and window.stride[place] == 1
        and window.reach(place) == 2 * pad + 1
        and not (strip.lo or strip.hi or strip.margin)
        and min(strip.extents) >= 2 * pad
    )


def convolved_early(
    shard: Shard, window: Window, x: Tensor, strip: Strip, place: int, padding: tuple[int, ...]
) -> Tensor:
    """``x`` convolved with zero padding, the rows beside other ranks computed from their rows.

    Args:
        shard: this rank's shard.
        window: the convolution.
        x: the map.
        strip: its one strip along which it is padded.
        place: which of the window's dims that is.
        padding: of all of the window's dims.
    """
    pad = padding[place]
    incoming = post(shard, x, strip, pad, pad) if len(strip.extents) > 1 else []
    out = window(shard, x, padding)
    bare = tuple(0 if at == place else width for at, width in enumerate(padding))
    own, rows = strip.own(shard.index[strip.axis]), x.shape[strip.dim]
    before = [entry for entry in incoming if entry[0].stop <= own.start]
    after = [entry for entry in incoming if entry[0].start >= own.stop]
    if before:
        slab = _joined(shard, before, x.narrow(strip.dim, 0, 2 * pad), strip.dim, first=True)
        out.narrow(strip.dim, 0, pad).copy_(window(shard, slab, bare))
    if after:
        slab = _joined(shard, after, x.narrow(strip.dim, rows - 2 * pad, 2 * pad), strip.dim, first=False)
        out.narrow(strip.dim, rows - pad, pad).copy_(window(shard, slab, bare))
    return out


def _joined(shard: Shard, incoming: list[tuple[Span, Message]], own: Tensor, dim: int, *, first: bool) -> Tensor:
    """The rows of other ranks beside this rank's nearest."""
    theirs = [shard.exchange.take(message) for _, message in sorted(incoming, key=lambda entry: entry[0])]
    return torch.cat([*theirs, own] if first else [own, *theirs], dim)
