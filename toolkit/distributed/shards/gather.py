"""Small and large things that every rank needs of every other, sent from rank to rank."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import torch
from torch import Tensor

from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout
from toolkit.runs.trace import Label


def share_of(shard: Shard, layout: Layout, rank: int) -> Fraction:
    """How many times as many cells a rank has of a map as this one.

    The lattice has one shard a rank, so a map that is not sharded along an axis is counted once a part of it.
    """
    place, ratio = shard.plan.position(rank), Fraction(1)
    for strip in layout:
        ratio *= Fraction(strip.extents[place[strip.axis]], strip.extents[shard.index[strip.axis]])
    return ratio


def partners(shard: Shard, layout: Layout) -> list[int]:
    """The ranks that together hold the whole of a map, this one included, in rank order.

    Ranks that differ from this one along an axis on which the map is whole hold the same as it does.
    """
    axes = {strip.axis for strip in layout}
    mine = shard.index
    ranks = range(shard.plan.ranks)
    return [r for r in ranks if all(shard.plan.position(r)[a] == mine[a] for a in mine if a not in axes)]


def collect(shard: Shard, x: Tensor, dim: int, layout: Layout, what: str) -> list[Tensor]:
    """``x`` of every partner, in rank order; their sizes along ``dim`` follow from the strips.

    Args:
        shard: this rank's shard.
        x: this rank's tensor, alike on all partners but for ``dim``; nobody may write to it any more.
        dim: the dim that differs; None of the others does.
        layout: the strips that ``dim`` holds.
        what: what it is, for the trace.
    """
    me, ranks = shard.exchange.member.rank, partners(shard, layout)
    name = Label(purpose=what, module=shard.module())
    x = x.contiguous()
    for rank in ranks:
        if rank != me:
            shard.exchange.send(x, rank, name)
    messages = {}
    for rank in ranks:
        if rank != me:
            shape = list(x.shape)
            shape[dim] = int(shape[dim] * share_of(shard, layout, rank))
            messages[rank] = shard.exchange.receive(tuple(shape), x.dtype, rank, name)
    return [x if rank == me else shard.exchange.take(messages[rank]) for rank in ranks]


def around(shard: Shard, x: Tensor, dim: int, layout: Layout, what: str) -> Iterator[tuple[int, Tensor]]:
    """``x`` of every partner, one after the other, passed around a ring: two of them are held at a time.

    Yields:
        Rank and tensor, beginning with this rank's own.
    """
    ranks = partners(shard, layout)
    at = ranks.index(shard.exchange.member.rank)
    name = Label(purpose=what, module=shard.module())
    held = x.contiguous()
    for step in range(len(ranks)):
        owner = ranks[(at - step) % len(ranks)]
        message = None
        if step + 1 < len(ranks):
            shard.exchange.send(held, ranks[(at + 1) % len(ranks)], name)
            source = ranks[(at - step - 1) % len(ranks)]
            shape = list(x.shape)
            shape[dim] = int(shape[dim] * share_of(shard, layout, source))
            message = shard.exchange.receive(tuple(shape), x.dtype, ranks[(at - 1) % len(ranks)], name)
        yield owner, held
        if message is not None:
            # The sent part is let go before the next is taken in.
            held = shard.exchange.take(message)


def add_up(shard: Shard, x: Tensor, layout: Layout, what: str) -> Tensor:
    """The sum of every partner's ``x``, added in rank order, so that all have the same bits."""
    return torch.cat(collect_alike(shard, x.unsqueeze(0), layout, what)).sum(0)


def collect_alike(shard: Shard, x: Tensor, layout: Layout, what: str) -> list[Tensor]:
    """``x`` of every partner, in rank order, where all have the same shape."""
    even = tuple(strip._replace(extents=(1,) * len(strip.extents)) for strip in layout)
    return collect(shard, x, 0, even, what)
