"""GroupNorm statistics of all tiles: every rank computes those of its own tiles, and all ranks merge all of them.

One pass over two ranks, before the tiles themselves are computed:

    rank 0   tiles 0, 1 --> statistics of 0, 1  --.     .--> statistics of 0, 1, 2, 3 --> merged
                                                   swap
    rank 1   tiles 2, 3 --> statistics of 2, 3  --'     '--> statistics of 0, 1, 2, 3 --> merged

All ranks merge in the order of the tiles, so they get the same bits, for any number of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import prod

import torch
from torch import Tensor

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.message import Incoming, Outgoing
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
    """Refuse ``norm_passes`` with a plan that has no use for them.

    Raises:
        PlanError: If the call asks for passes, and the plan has no tiles or has tiles along ``t``.
    """
    if call.options.norm_passes:
        passes = call.options.norm_passes
        grid = plan.require_seams(f"norm_passes={passes}", "lets the GroupNorm of each tile see the whole map")
        check_passes(passes, grid)


def with_statistics(coder: TileCoder, x: Tensor, *, plan: TilePlan, exchange: Exchange, trace: Recorder) -> TileCoder:
    """Return the coder to compute this rank's tiles with.

    Returns:
        A coder whose GroupNorms use the statistics of all tiles, if the call asks for that; otherwise ``coder``.
    """
    if coder.whole or not coder.call.options.norm_passes or not plan.assignment.tiles_of(exchange.member.rank):
        return coder
    return NormedCoder.over(coder, gather_statistics(coder, x, plan=plan, exchange=exchange, trace=trace))


def gather_statistics(
    coder: TileCoder, x: Tensor, *, plan: TilePlan, exchange: Exchange, trace: Recorder
) -> Statistics:
    """Compute the statistics of all tiles. Every rank that has a tile calls this; ranks without tiles do not.

    Args:
        coder: The model, borrowed, and its grid.
        x: The whole input.
        plan: The tiles and their ranks.
        exchange: Messages to the other ranks.
        trace: Records what this rank does.

    Raises:
        ModelError: If the model has no GroupNorm, or one whose place on the map is not known.
    """
    mine, merged = plan.assignment.tiles_of(exchange.member.rank), None
    # The statistics of a layer depend on those of the layers before it. Each pass computes the tiles with the result of
    # the pass before, which brings all layers closer to what they see in an untiled call.
    for number in range(coder.call.options.norm_passes):
        own = {}
        for index in mine:
            with trace(Kind.NORMS, Label(tile=index, text=f"pass {number}")):
                own[index] = tile_statistics(coder, x, tile=plan.grid.tiles[index], given=merged)
                synchronise(coder.device)
        # Merged once without the others: what is wrong with the model raises here, on every rank. Otherwise some ranks
        # would wait for the messages of a rank that has raised.
        merge_statistics(own)
        merged = merge_statistics({**own, **_of_others(own[mine[0]], list(own.values()), plan=plan, exchange=exchange)})
    assert merged is not None
    return merged


def _of_others(
    like: Statistics, own: Sequence[Statistics], *, plan: TilePlan, exchange: Exchange
) -> dict[int, Statistics]:
    """Swap statistics with every other rank; returns those of the other ranks' tiles, by tile."""
    packed = torch.stack([_pack(tile) for tile in own])
    assignment, me = plan.assignment, exchange.member.rank
    peers = sorted(set(assignment.owners) - {me})
    receives = [Incoming((len(assignment.tiles_of(peer)), packed.shape[1]), packed.dtype, peer) for peer in peers]
    posted = exchange.swap(_STATISTICS, [Outgoing(packed, peer) for peer in peers], receives)
    mine = _core_cells(plan, assignment.tiles_of(me)[0])
    return {
        index: tuple(_unpack(row, like, Fraction(_core_cells(plan, index), mine)))
        for peer, message in zip(peers, posted, strict=True)
        for index, row in zip(assignment.tiles_of(peer), exchange.take(message), strict=True)
    }


def _core_cells(plan: TilePlan, index: int) -> int:
    """Latent cells of a tile's core."""
    return prod(len(span) for span in plan.grid.tiles[index].core.values())


def _pack(statistics: Statistics) -> Tensor:
    """Put the statistics of a tile into one row."""
    return torch.cat([norm.packed().flatten() for norm in statistics])


def _unpack(row: Tensor, like: Statistics, ratio: Fraction) -> Iterator[Moments]:
    """Take a row apart; the sizes of its parts are those of this rank's own statistics ``like``.

    Args:
        row: The statistics of a tile.
        like: The statistics of this rank's first tile.
        ratio: Cells of the tile's core over those of that tile's. On every layer a core has as many cells per latent
            cell, so the counts have the same ratio, and need not travel.
    """
    norms = row.split([norm.packed().numel() for norm in like])
    for values, norm in zip(norms, like, strict=True):
        yield Moments.unpacked(int(norm.count * ratio), values.view(2, *norm.mean.shape).to(norm.mean.dtype))
