"""Tiles over ranks: each rank decodes its own tiles, the root ends up with the sample.

Every rank of the group calls :func:`decode` with the same plan. Ranks without a tile return at once and take part in
nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from toolkit.distributed.exchange import Exchange, Message
from toolkit.distributed.failure import FailureFlag
from toolkit.distributed.group import Member
from toolkit.distributed.shares import decode_shares
from toolkit.errors import PlanError
from toolkit.geometry.plan import RECEIVES_IN_FLIGHT, TilePlan
from toolkit.measure.device import synchronise
from toolkit.measure.trace import Recorder
from toolkit.models.adapter import TileDecoder, borrowed
from toolkit.numerics.cascade import cascade_merge
from toolkit.numerics.convolution import Convolutions, convolution_kernels
from toolkit.numerics.window import window_merge


def decode(
    vae: Any,
    latent: Tensor,
    plan: TilePlan | None = None,
    group: ProcessGroup | None = None,
    *,
    trace: Recorder | None = None,
    convolutions: Convolutions = "onednn",
) -> Tensor | None:
    """Decode a latent in tiles over the ranks of a process group.

    Called by every rank of the group, with an equal model, latent and plan. Plan ranks are group ranks; those beyond
    the plan's return at once. Without a process group the plan must be for one rank.

    Args:
        vae: a diffusers autoencoder. It is left as it was found.
        latent: ``b c h w`` or ``b c t h w``, as ``vae.decode`` takes it.
        plan: the tiles and their ranks; None: the model's own call, on rank 0.
        group: the group; None for the default one.
        trace: records what this rank did.
        convolutions: the kernels of small fp32 CPU convolutions, during this call; they decide the last bits.

    Returns:
        The sample on the plan's root, None on the other ranks.

    Raises:
        PlanError: on all ranks alike, where the plan does not fit the latent or has more ranks than the group.
        RankFailed: where another rank raised.

    Example:
        >>> from toolkit.geometry import Assignment, Blend
        >>> from toolkit.models import demo
        >>> from toolkit.models.tiling import diffusers_grid
        >>> vae = demo.image_vae()
        >>> latent = torch.zeros(1, 16, 40, 36)
        >>> grid = diffusers_grid(vae, latent.shape)
        >>> decode(vae, latent, TilePlan(grid, Blend.diffusers(), Assignment.balanced(grid, 1))).shape
        torch.Size([1, 3, 320, 288])
    """
    member = Member.of(group)
    trace = trace or Recorder(member.rank)
    failure = FailureFlag(member.store, member.rank)
    with failure.watch(), convolution_kernels(convolutions):
        if plan is None:
            return _own_call(vae, latent, member, trace)
        if plan.ranks > member.size:
            raise PlanError(f"the plan is for {plan.ranks} ranks, the group has {member.size}: make it for the group.")
        decoder = TileDecoder.of(vae, tuple(latent.shape), plan.grid)
        if member.rank >= plan.ranks or (member.rank != plan.root and member.rank in plan.assignment.idle):
            return None
        exchange = Exchange(member, failure, trace, decoder.device)
        try:
            with borrowed(vae):
                return _decode(decoder, latent, plan, exchange, trace)
        finally:
            exchange.close()


def _own_call(vae: Any, latent: Tensor, member: Member, trace: Recorder) -> Tensor | None:
    if member.rank != 0:
        return None
    device = next(vae.parameters()).device
    with torch.no_grad(), trace("whole", type(vae).__name__):
        sample: Tensor = vae.decode(latent.to(device), return_dict=False)[0]
        synchronise(device)
    return sample


def _decode(decoder: TileDecoder, latent: Tensor, plan: TilePlan, exchange: Exchange, trace: Recorder) -> Tensor | None:
    if decoder.whole:
        return _decode_whole(decoder, latent, plan, exchange, trace)
    if plan.finish == "shares":
        canvas = decode_shares(decoder, latent, plan, exchange, trace)
    else:
        canvas = _decode_tiles(decoder, latent, plan, exchange, trace)
    if canvas is None:
        return None
    with trace("finish", "sample", canvas.nbytes):
        decoder.finish(canvas)
        synchronise(decoder.device)
    return canvas


def _decode_whole(
    decoder: TileDecoder, latent: Tensor, plan: TilePlan, exchange: Exchange, trace: Recorder
) -> Tensor | None:
    """A grid of one tile is no tiling: its owner makes the model's own untiled call."""
    me, owner = exchange.member.rank, plan.assignment.owners[0]
    sample = None
    if me == owner:
        with trace("decode", "tile 0"):
            sample = decoder.decode_whole(latent.to(decoder.device))
            synchronise(decoder.device)
    if owner == plan.root:
        return sample
    if sample is not None:
        exchange.send(sample, plan.root, "tile 0")
        exchange.flush()
        return None
    return exchange.take(exchange.receive(decoder.shape, decoder.dtype, owner, "tile 0"))


def _decode_tiles(
    decoder: TileDecoder, latent: Tensor, plan: TilePlan, exchange: Exchange, trace: Recorder
) -> Tensor | None:
    """Where three tiles meet: raw tiles travel whole, and the root merges them in row-major order."""
    me = exchange.member.rank
    own: dict[int, Tensor] = {}
    for index in plan.assignment.tiles_of(me):
        tile = plan.grid.tiles[index]
        with trace("decode", f"tile {index}"):
            own[index] = decoder(decoder.cut(latent, tile.box))
            synchronise(decoder.device)
        if me != plan.root:
            exchange.send(own.pop(index), plan.root, f"tile {index}")
    if me != plan.root:
        exchange.flush()
        return None
    canvas, raw = decoder.canvas(), _in_order(decoder, plan, exchange, own)
    with trace("blend", "tiles", canvas.nbytes):
        view = decoder.raw_view(canvas)
        if plan.blend.merge == "cascade":
            cascade_merge(raw, plan.grid, decoder.frame, view)
        else:
            window_merge(raw, plan.grid, decoder.frame, plan.blend.ramp, view)
    return canvas


def _in_order(decoder: TileDecoder, plan: TilePlan, exchange: Exchange, own: dict[int, Tensor]) -> Iterator[Tensor]:
    """All raw tiles, row-major: the root's own, and the others' as they are received, several at a time."""
    posted: dict[int, Message] = {}
    remote = deque(tile for tile in plan.grid.tiles if tile.index not in own)
    for index, _ in enumerate(plan.grid.tiles):
        while remote and len(posted) < RECEIVES_IN_FLIGHT:
            tile = remote.popleft()
            shape, owner = decoder.raw_shape(tile.box), plan.assignment.owners[tile.index]
            posted[tile.index] = exchange.receive(shape, decoder.dtype, owner, f"tile {tile.index}")
        yield own.pop(index) if index in own else exchange.take(posted.pop(index))
