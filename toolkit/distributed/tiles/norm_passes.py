"""Statistics of all tiles over ranks: every rank gathers its own tiles', and all ranks merge all of them alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from toolkit.distributed.comm.exchange import Exchange, Message
from toolkit.geometry.plan import Plan
from toolkit.geometry.tile_plan import TilePlan
from toolkit.models.autoencoders.global_norm import (
    NormedCoder,
    Statistics,
    check_passes,
    merge_statistics,
    tile_statistics,
)
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.tile_coder import TileCoder
from toolkit.numerics.statistics import Moments
from toolkit.runs.device import synchronise
from toolkit.runs.trace import Kind, Label, Recorder

_STATISTICS = Label(purpose="statistics of tiles")


def check_norm_passes(call: ModelCall, plan: Plan) -> None:
    """Refuse passes for statistics with a plan that has no use for them.

    Raises:
        PlanError: If there are passes, and the plan has no tiles or has tiles along ``t``.
    """
    if call.options.norm_passes:
        passes = call.options.norm_passes
        grid = plan.require_seams(f"norm_passes={passes}", "lets the GroupNorm of each tile see the whole map")
        check_passes(passes, grid)


def with_statistics(coder: TileCoder, x: Tensor, plan: TilePlan, exchange: Exchange, trace: Recorder) -> TileCoder:
    """The coder, its GroupNorms using the statistics of all tiles where the call asks for that."""
    if coder.whole or not coder.call.options.norm_passes or not plan.assignment.tiles_of(exchange.member.rank):
        return coder
    return NormedCoder.over(coder, gather_statistics(coder, x, plan, exchange, trace))


def gather_statistics(coder: TileCoder, x: Tensor, plan: TilePlan, exchange: Exchange, trace: Recorder) -> Statistics:
    """The statistics of all tiles, on every rank that has a tile; the others do not call it.

    They are merged in the order of the tiles, so that they do not depend on the ranks, bit for bit.

    Args:
        coder: the model, borrowed, and its grid.
        x: the whole input.
        plan: the tiles and their ranks.
        exchange: messages to the other ranks.
        trace: what this rank did.

    Raises:
        ModelError: where the model has no GroupNorm, or one that cannot be placed on the map.
    """
    mine, merged = plan.assignment.tiles_of(exchange.member.rank), None
    for number in range(coder.call.options.norm_passes):
        own = {}
        for index in mine:
            with trace(Kind.NORMS, Label(tile=index, text=f"pass {number}")):
                own[index] = tile_statistics(coder, x, plan.grid.tiles[index], merged)
                synchronise(coder.device)
        merge_statistics(own)  # raises alike on all ranks what would leave others waiting
        merged = merge_statistics({**own, **_of_others(own[mine[0]], list(own.values()), plan, exchange)})
    assert merged is not None
    return merged


def _of_others(
    like: Statistics, own: Sequence[Statistics], plan: TilePlan, exchange: Exchange
) -> dict[int, Statistics]:
    """The statistics of the other ranks' tiles, for this rank's own."""
    me, posted = exchange.member.rank, dict[int, Message]()
    packed = torch.stack([_pack(tile) for tile in own])
    for peer in sorted(set(plan.assignment.owners) - {me}):
        shape = (len(plan.assignment.tiles_of(peer)), packed.shape[1])
        # Of two ranks the lower one sends first: where sends wait for their receives, two that both send would lock.
        if me < peer:
            exchange.send(packed, peer, _STATISTICS)
        posted[peer] = exchange.receive(shape, packed.dtype, peer, _STATISTICS)
        if me > peer:
            exchange.send(packed, peer, _STATISTICS)
    return {
        index: tuple(_unpack(row, like))
        for peer, message in posted.items()
        for index, row in zip(plan.assignment.tiles_of(peer), exchange.take(message), strict=True)
    }


def _pack(statistics: Statistics) -> Tensor:
    """One row of numbers, in which fp32 means and counts of cells lose nothing."""
    counts = statistics[0].mean.new_tensor([norm.count for norm in statistics], dtype=torch.float64)
    return torch.cat([counts, *(norm.packed().flatten().double() for norm in statistics)])


def _unpack(row: Tensor, like: Statistics) -> Iterator[Moments]:
    sizes = [norm.packed().numel() for norm in like]
    counts, *norms = row.split([len(like), *sizes])
    for count, values, norm in zip(counts.tolist(), norms, like, strict=True):
        yield Moments.unpacked(int(count), values.view(2, *norm.mean.shape).to(norm.mean.dtype))
