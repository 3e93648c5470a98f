"""What every rank needs of every other rank, sent directly from rank to rank.

Not torch's ``all_gather``: shards are uneven, and every rank knows every other rank's shape from the strips, so exact
sizes travel and nothing is padded. Three ranks with one part each, all at once (``collect``) or around a ring
(``around``), which holds two parts at a time instead of all:

    collect    every rank:  send own part to both others, receive both others' parts

    around     step 0       step 1       step 2
    rank 0     uses 0       uses 2       uses 1        in each step every rank sends what it holds to the next rank,
    rank 1     uses 1       uses 0       uses 2        and receives what the rank before it holds
    rank 2     uses 2       uses 1       uses 0

Why this cannot deadlock: all sends and receives of a step are started before any of them is waited for. Who takes part
follows from the plan alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import torch
from torch import Tensor

from toolkit.distributed.comm.message import Incoming, Outgoing
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout
from toolkit.runs.trace import Label


def share_of(shard: Shard, layout: Layout, rank: int) -> Fraction:
    """How many cells of a map a rank has for each cell that this rank has.

    Args:
        shard: This rank's shard.
        layout: The strips of the map.
        rank: The other rank.

    Returns:
        The ratio, as a fraction: sizes that are multiplied by it stay exact.
    """
    place, ratio = shard.plan.position(rank), Fraction(1)
    for strip in layout:
        ratio *= Fraction(strip.extents[place[strip.axis]], strip.extents[shard.index[strip.axis]])
    return ratio


def partners(shard: Shard, layout: Layout) -> list[int]:
    """The ranks that together hold a whole map, including this one, in the order of their shards.

    Along an axis on which the map is whole, every rank has the same; there a rank's partners are at its own place.
    """
    axes = {strip.axis for strip in layout}
    mine = shard.index
    # Not by rank: sums are then the same bits, whichever rank has which shard.
    return [
        r for r in shard.plan.part_owners if all(shard.plan.position(r)[a] == mine[a] for a in mine if a not in axes)
    ]


def collect(shard: Shard, x: Tensor, *, dim: int, layout: Layout, what: str) -> list[Tensor]:
    """Bring together ``x`` of all partners.

    Args:
        shard: This rank's shard.
        x: This rank's tensor. It has the same shape on all partners except along ``dim``. Nobody may write to it any
            more, because it is sent from its own memory.
        dim: The dim whose size differs.
        layout: The strips that ``dim`` holds.
        what: The purpose, for the trace.

    Returns:
        The tensors of all partners, in the order of their shards.
    """
    me, ranks = shard.exchange.member.rank, partners(shard, layout)
    name = Label(purpose=what, module=shard.module())
    x = x.contiguous()
    others = [rank for rank in ranks if rank != me]
    receives = [Incoming(_shape_on(shard, x, dim, layout=layout, rank=rank), x.dtype, rank) for rank in others]
    posted = shard.exchange.swap(name, [Outgoing(x, rank) for rank in others], receives)
    messages = dict(zip(others, posted, strict=True))
    return [x if rank == me else shard.exchange.take(messages[rank]) for rank in ranks]


def around(shard: Shard, x: Tensor, *, dim: int, layout: Layout, what: str) -> Iterator[tuple[int, Tensor]]:
    """Pass ``x`` of all partners around a ring, so that a rank holds only two of them at a time.

    The arguments are those of :func:`collect`.

    Yields:
        A rank and its tensor, this rank's own first, then the ranks before it, going back.
    """
    # By rank, because ranks are counted host by host: the ring leaves each host once.
    ranks = sorted(partners(shard, layout))
    at = ranks.index(shard.exchange.member.rank)
    name = Label(purpose=what, module=shard.module())
    held = x.contiguous()
    for step in range(len(ranks)):
        # After `step` passes, this rank holds what began `step` places before it.
        owner = ranks[(at - step) % len(ranks)]
        message = None
        if step + 1 < len(ranks):
            shape = _shape_on(shard, x, dim, layout=layout, rank=ranks[(at - step - 1) % len(ranks)])
            after, before = ranks[(at + 1) % len(ranks)], ranks[(at - 1) % len(ranks)]
            (message,) = shard.exchange.swap(name, [Outgoing(held, after)], [Incoming(shape, x.dtype, before)])
        # The caller computes with `held` while it is sent and the next part arrives.
        yield owner, held
        if message is not None:
            held = shard.exchange.take(message)


def _shape_on(shard: Shard, x: Tensor, dim: int, *, layout: Layout, rank: int) -> tuple[int, ...]:
    """The shape that ``x`` has on another rank."""
    shape = list(x.shape)
    shape[dim] = int(shape[dim] * share_of(shard, layout, rank))
    return tuple(shape)


def add_up(shard: Shard, x: Tensor, *, layout: Layout, what: str) -> Tensor:
    """Add up ``x`` of all partners, in the order of their shards, so that all get the same bits."""
    return torch.cat(collect_alike(shard, x.unsqueeze(0), layout=layout, what=what)).sum(0)


def collect_alike(shard: Shard, x: Tensor, *, layout: Layout, what: str) -> list[Tensor]:
    """Bring together ``x`` of all partners if it has the same shape on all of them; in the order of their shards."""
    # With one row per rank, collect() finds no difference in size.
    even = tuple(strip._replace(extents=(1,) * len(strip.extents)) for strip in layout)
    return collect(shard, x, dim=0, layout=even, what=what)
