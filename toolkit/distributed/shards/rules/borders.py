"""A convolution that begins before its neighbours' rows are there.

With zeros in place of the halo every row but those at the borders is right already. They are computed once more when
the rows have come: messages travel beside the computation, and the map is not copied to make room for a halo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from toolkit.distributed.comm.exchange import Message
from toolkit.distributed.shards.halo import settle
from toolkit.distributed.shards.shard import PendingHalo, Shard
from toolkit.distributed.shards.strip import Strip
from toolkit.numerics.convolution import convolve
from toolkit.runs.trace import Label


def convolved(shard: Shard, func: Callable[..., Any], *given: Any) -> Tensor:
    """``func(*given)`` by the kernels that the run asks for."""
    return convolve(func, *given) if shard.convolutions == "onednn" else func(*given)


class Window(NamedTuple):
    """A convolution without its input and padding."""

    func: Callable[..., Any]
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def __call__(self, shard: Shard, x: Tensor, padding: tuple[int, ...]) -> Tensor:
        """Convolve ``x``, by the kernels that the run asks for."""
        func, weight, bias, stride, dilation, groups = self
        return convolved(shard, func, x, weight, bias, stride, padding, dilation, groups)

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
    shard: Shard, window: Window, x: Tensor, strips: Sequence[Strip], padding: tuple[int, ...]
) -> Tensor:
    """``x`` convolved with zero padding, what lies beside other ranks computed from their rows and columns.

    Args:
        shard: this rank's shard.
        window: the convolution.
        x: the map.
        strips: its strips; along each the window is padded.
        padding: of all of the window's dims.
    """
    first, *rest = [_Side(shard, x, strip, strip.dim - (x.ndim - len(padding)), padding) for strip in strips]
    first.post(x)
    out = window(shard, x, padding)
    first.take()
    first.mend(window, x, out, padding)
    for second in rest:
        # Columns go to the neighbours with the rows above and below them, which brings the corners.
        second.post(x, first)
        second.take()
        second.mend(window, x, out, padding, first)
    return out


def pending_of(shard: Shard, x: Tensor) -> PendingHalo | None:
    """What ``x`` still lacks, if it alone lacks anything; what other maps lack is filled in."""
    if not shard.pending:
        return None
    mine = shard.pending[-1] if len(shard.pending) == 1 and shard.pending[-1].map is x else None
    if mine is None:
        settle(shard, shard.pending)
    shard.pending.clear()
    return mine


def convolve_pending(shard: Shard, window: Window, pending: PendingHalo, padding: tuple[int, ...]) -> Tensor:
    """A padded map convolved while rows of it are under way; what they reach is computed once they are there."""
    x, dim = pending.map, pending.dim
    place = dim - (x.ndim - len(padding))
    reach, stride = window.reach(place), window.stride[place]
    out = window(shard, x, padding)
    settle(shard, [pending])
    for start, message in pending.rows:
        stop = start + message.buffer.shape[dim]
        first = max(0, -(-(start - reach + 1) // stride))
        last = min((stop - 1) // stride, out.shape[dim] - 1)
        if first <= last:
            slab = x.narrow(dim, first * stride, (last - first) * stride + reach)
            out.narrow(dim, first, last - first + 1).copy_(window(shard, slab, padding))
    return out


class _Side:
    """One axis of a map: what comes from before and after this rank's part, and the cells that it changes.

    Args:
        shard: this rank's shard.
        x: the map.
        strip: its strip of this axis.
        place: which of the window's dims that is.
        padding: of all of the window's dims.
    """

    def __init__(self, shard: Shard, x: Tensor, strip: Strip, place: int, padding: tuple[int, ...]) -> None:
        self.shard, self.strip, self.place, self.pad = shard, strip, place, padding[place]
        self.dim, self.rows = strip.dim, x.shape[strip.dim]
        self._incoming: list[tuple[int, Message]] = []
        self.before: Tensor | None = None
        self.after: Tensor | None = None

    def post(self, x: Tensor, across: _Side | None = None) -> None:
        """Start to send the outermost rows, with those of another axis around them, and to receive the neighbours'."""
        index, axis = self.shard.index[self.strip.axis], self.strip.axis
        name = Label(purpose=f"halo {axis}", module=self.shard.module())
        for step, start in ((-1, 0), (1, self.rows - self.pad)):
            if 0 <= index + step < len(self.strip.extents):
                rank = self.shard.rank_at(axis, index + step)
                rows = self._rows(x, start, self.pad, across).clone(memory_format=torch.contiguous_format)
                self.shard.exchange.send(rows, rank, name)
                self._incoming.append((step, self.shard.exchange.receive(tuple(rows.shape), x.dtype, rank, name)))

    def take(self) -> None:
        """Wait for what the neighbours sent."""
        for step, message in self._incoming:
            rows = self.shard.exchange.take(message)
            if step < 0:
                self.before = rows
            else:
                self.after = rows

    def mend(
        self, window: Window, x: Tensor, out: Tensor, padding: tuple[int, ...], across: _Side | None = None
    ) -> None:
        """Compute the outermost rows of the output again, with the neighbours' rows in place of zeros."""
        known = {self.place} if across is None else {self.place, across.place}
        bare = tuple(0 if place in known else width for place, width in enumerate(padding))
        if self.before is not None:
            slab = torch.cat([self.before, self._rows(x, 0, 2 * self.pad, across)], self.dim)
            out.narrow(self.dim, 0, self.pad).copy_(window(self.shard, slab, bare))
        if self.after is not None:
            slab = torch.cat([self._rows(x, self.rows - 2 * self.pad, 2 * self.pad, across), self.after], self.dim)
            out.narrow(self.dim, self.rows - self.pad, self.pad).copy_(window(self.shard, slab, bare))

    def _rows(self, x: Tensor, start: int, count: int, across: _Side | None) -> Tensor:
        """Rows of the map, between what another axis has before and after them: zeros at the map's edges."""
        rows = x.narrow(self.dim, start, count)
        if across is None:
            return rows
        edge = rows.narrow(across.dim, 0, across.pad)
        ends = [
            torch.zeros_like(edge) if rim is None else rim.narrow(self.dim, start, count)
            for rim in (across.before, across.after)
        ]
        return torch.cat([ends[0], rows, ends[1]], across.dim)
