"""Convolutions that begin before their neighbours' rows have arrived.

With zeros in place of the halo, a convolution is right everywhere but at the borders to other ranks. So it runs at once
on the rank's own rows, while the halo is under way; when the halo has arrived, only the rows at the borders are
computed again. Messages travel during the computation, and the map is never copied to make room for a halo.

A 3 x 3 convolution (``pad`` 1) on a rank with own rows 3 to 7, and neighbours on both sides:

    input rows              3  4  5  6  7
    1. convolve, with zeros padded around
       output rows          x  .  .  .  x        x: wrong, it saw a zero instead of row 2 or row 8
    2. take rows 2 and 8 from the neighbours
    3. convolve the slab    2  3  4              without padding: one output row, which is row 3
       convolve the slab             6  7  8     one output row, which is row 7
       output rows          .  .  .  .  .

In general ``pad`` output rows per border are wrong, and the slab that gives them has ``pad`` rows of the neighbour and
``2 * pad`` own rows.

On a lattice (shards along h and w) rows come first and columns second. A slab of columns must also hold the rows above
and below it, or its corners would be wrong. So columns are sent together with the halo rows that this rank has received
(``across``), as in halo.py: then no rank exchanges anything with its diagonal neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from toolkit.distributed.comm.message import Incoming, Message, Outgoing
from toolkit.distributed.shards.halo import settle
from toolkit.distributed.shards.shard import PendingHalo, Shard
from toolkit.distributed.shards.strip import Strip
from toolkit.numerics.banded_convolution import convolve_in_bands
from toolkit.numerics.memory_format import memory_format_of
from toolkit.runs.trace import Label


def convolved(shard: Shard, func: Callable[..., Any], *given: Any) -> Tensor:
    """Call ``func(*given)``, a convolution, with the kernels that the run asks for."""
    return convolve_in_bands(func, *given) if shard.convolutions == "onednn" else func(*given)


class ConvolutionWindow(NamedTuple):
    """A convolution without its input and its padding.

    Attributes:
        func: ``conv2d`` or ``conv3d``.
        weight: The weight.
        bias: The bias.
        stride: The stride along each dim.
        dilation: The dilation along each dim.
        groups: Number of groups of channels.
    """

    func: Callable[..., Any]
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def __call__(self, shard: Shard, x: Tensor, padding: tuple[int, ...]) -> Tensor:
        """Convolve ``x``, with the kernels that the run asks for."""
        func, weight, bias, stride, dilation, groups = self
        return convolved(shard, func, x, weight, bias, stride, padding, dilation, groups)

    def reach(self, place: int) -> int:
        """Number of rows from the first to the last that one output row depends on, along one of its dims."""
        return (self.weight.shape[2 + place] - 1) * self.dilation[place] + 1


def begins_early(shard: Shard, window: ConvolutionWindow, strip: Strip, *, place: int, pad: int) -> bool:
    """Whether the rows at the borders can be computed on their own.

    It must read as many rows before as after each row, in steps of one row, and every rank must have enough rows of its
    own for a slab.

    Args:
        shard: This rank's shard.
        window: The convolution.
        strip: The strip along which it is padded.
        place: The dim of the window that the strip is along.
        pad: The padding along that dim.
    """
    return (
        shard.plan.borders == "exchange"
        and window.stride[place] == 1
        and window.reach(place) == 2 * pad + 1
        and not (strip.lo or strip.hi or strip.margin)
        and min(strip.extents) >= 2 * pad
    )


def convolved_early(
    shard: Shard, window: ConvolutionWindow, x: Tensor, *, strips: Sequence[Strip], padding: tuple[int, ...]
) -> Tensor:
    """Convolve a map at once, and compute the borders to other ranks again when their rows have arrived.

    Args:
        shard: This rank's shard.
        window: The convolution.
        x: The map.
        strips: Its strips, one or two. The convolution is padded along each.
        padding: The padding along each dim of the window.
    """
    first, *rest = [_Side(shard, x, strip, strip.dim - (x.ndim - len(padding)), padding) for strip in strips]
    first.post(x)
    # The halo is under way during this line, which is nearly all of the work.
    out = window(shard, x, padding)
    first.take()
    first.mend(window, x, out=out, padding=padding)
    for second in rest:
        # Posted only now, because the columns go with the rows that have just arrived: that brings the corners.
        second.post(x, first)
        second.take()
        second.mend(window, x, out=out, padding=padding, across=first)
    return out


def pending_of(shard: Shard, x: Tensor) -> PendingHalo | None:
    """Return what ``x`` still lacks if it is the only map that lacks anything; otherwise fill in all maps.

    After this call no map is pending; the caller must fill in the one that is returned.
    """
    if not shard.pending:
        return None
    mine = shard.pending[-1] if len(shard.pending) == 1 and shard.pending[-1].map is x else None
    if mine is None:
        settle(shard, shard.pending)
    shard.pending.clear()
    return mine


def convolve_pending(
    shard: Shard, window: ConvolutionWindow, *, pending: PendingHalo, padding: tuple[int, ...]
) -> Tensor:
    """Convolve a padded map while rows of it are under way; compute what depends on them again when they are there.

    This is the case of models that pad first and convolve without padding after. The map has room for the rows already,
    so strides and uneven padding are no obstacle.
    """
    x, dim = pending.map, pending.dim
    place = dim - (x.ndim - len(padding))
    reach, stride = window.reach(place), window.stride[place]
    out = window(shard, x, padding)
    settle(shard, [pending])
    for start, message in pending.rows:
        stop = start + message.buffer.shape[dim]
        # Output row i reads the input rows from i * stride to i * stride + reach - 1. The first i whose last row is not
        # before `start` (rounded up), and the last i whose first row is before `stop`:
        first = max(0, -(-(start - reach + 1) // stride))
        last = min((stop - 1) // stride, out.shape[dim] - 1)
        if first <= last:
            slab = x.narrow(dim, first * stride, (last - first) * stride + reach)
            out.narrow(dim, first, last - first + 1).copy_(window(shard, slab, padding))
    return out


class _Side:
    """One axis of a map: what comes from before and after this rank's part, and the output rows that it changes.

    Args:
        shard: This rank's shard.
        x: The map.
        strip: Its strip along the axis.
        place: The dim of the window that the strip is along.
        padding: The padding along each dim of the window.

    Attributes:
        before: The neighbour's rows before this rank's own, once they are taken; None at the edge of the map.
        after: The neighbour's rows after them.
    """

    def __init__(self, shard: Shard, x: Tensor, strip: Strip, place: int, padding: tuple[int, ...]) -> None:
        self.shard, self.strip, self.place, self.pad = shard, strip, place, padding[place]
        self.dim, self.rows = strip.dim, x.shape[strip.dim]
        self._incoming: list[tuple[int, Message]] = []
        self.before: Tensor | None = None
        self.after: Tensor | None = None

    def post(self, x: Tensor, across: _Side | None = None) -> None:
        """Start to send the outermost rows to the neighbours, and to receive theirs.

        Args:
            x: The map.
            across: The other axis, if its halo is there already: then the rows are sent with its halo around them.
        """
        index, axis = self.shard.index[self.strip.axis], self.strip.axis
        name = Label(purpose=f"halo {axis}", module=self.shard.module())
        neighbours = [
            (step, self.shard.rank_at(axis, index + step), start)
            for step, start in ((-1, 0), (1, self.rows - self.pad))
            if 0 <= index + step < len(self.strip.extents)
        ]
        sends = [
            Outgoing(self._rows(x, start, self.pad, across).clone(memory_format=torch.contiguous_format), rank)
            for _, rank, start in neighbours
        ]
        # A neighbour sends as many rows as it gets: the window is symmetric.
        receives = [Incoming(tuple(one.tensor.shape), x.dtype, one.to) for one in sends]
        steps = [step for step, *_ in neighbours]
        self._incoming = list(zip(steps, self.shard.exchange.swap(name, sends, receives), strict=True))

    def take(self) -> None:
        """Wait for the neighbours' rows."""
        for step, message in self._incoming:
            rows = self.shard.exchange.take(message)
            if step < 0:
                self.before = rows
            else:
                self.after = rows

    def mend(
        self,
        window: ConvolutionWindow,
        x: Tensor,
        *,
        out: Tensor,
        padding: tuple[int, ...],
        across: _Side | None = None,
    ) -> None:
        """Compute the outermost rows of the output again, with the neighbours' rows in place of zeros.

        Args:
            window: The convolution.
            x: The map.
            out: The output, which is written to.
            padding: The padding along each dim of the window.
            across: The other axis, if its halo is there already.
        """
        # A slab holds what the window would pad, along this axis and along the other one: pad it along the rest only.
        known = {self.place} if across is None else {self.place, across.place}
        bare = tuple(0 if place in known else width for place, width in enumerate(padding))
        if self.before is not None:
            slab = self._joined(x, self.before, self._rows(x, 0, 2 * self.pad, across))
            out.narrow(self.dim, 0, self.pad).copy_(window(self.shard, slab, bare))
        if self.after is not None:
            slab = self._joined(x, self._rows(x, self.rows - 2 * self.pad, 2 * self.pad, across), self.after)
            out.narrow(self.dim, self.rows - self.pad, self.pad).copy_(window(self.shard, slab, bare))

    def _joined(self, x: Tensor, *rows: Tensor) -> Tensor:
        """Rows as one slab in the map's own memory format; rows that were received are contiguous."""
        return torch.cat(rows, self.dim).contiguous(memory_format=memory_format_of(x))

    def _rows(self, x: Tensor, start: int, count: int, across: _Side | None) -> Tensor:
        """Rows of the map; with ``across``, between what the other axis has before and after them."""
        rows = x.narrow(self.dim, start, count)
        if across is None:
            return rows
        # At the edge of the map there is no halo: there the model's own padding applies, which is zeros.
        edge = rows.narrow(across.dim, 0, across.pad)
        ends = [
            torch.zeros_like(edge) if rim is None else rim.narrow(self.dim, start, count)
            for rim in (across.before, across.after)
        ]
        return torch.cat([ends[0], rows, ends[1]], across.dim)
