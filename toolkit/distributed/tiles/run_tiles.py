"""Tiles over ranks: each rank computes its own tiles, and the root ends up with the output.

Four ways to get from tiles to an output, by what the grid allows and the caller asks for:

    one tile                        its owner makes the model's own, untiled call
    at most two tiles meet          every rank blends the parts that its own tiles end up in (shares.py)
    the same, with a stream         the same, and the root hands the output over in bands (streaming.py)
    three tiles meet along an axis  raw tiles travel to the root, which merges them in row-major order

Ranks without a tile return at once and send nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from torch import Tensor

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.message import Message
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.tiles.norm_passes import with_statistics
from toolkit.distributed.tiles.shares import compute_shares
from toolkit.distributed.tiles.streaming import Stream, stream_shares
from toolkit.geometry.tile_plan import RECEIVES_IN_FLIGHT, TilePlan
from toolkit.models.autoencoders.borrowed import borrowed
from toolkit.models.autoencoders.computed_tiles import ComputedTiles
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.tile_coder import TileCoder
from toolkit.models.protocols import Autoencoder
from toolkit.numerics.cascade import cascade_merge
from toolkit.numerics.window import window_merge
from toolkit.runs.device import synchronise
from toolkit.runs.trace import Kind, Label, Recorder


def run_tiles(
    vae: Autoencoder,
    x: Tensor,
    *,
    plan: TilePlan,
    call: ModelCall,
    rank: Rank,
    stream: Stream | None = None,
    computed: Mapping[int, Tensor] | None = None,
) -> Tensor | None:
    """Make a model's call in the tiles of a plan; every rank of the group calls this.

    Args:
        vae: A diffusers autoencoder.
        x: The input of the call.
        plan: The tiles and their ranks.
        call: The model call to make.
        rank: This process.
        stream: Takes the output in bands, on the plan's root.
        computed: All raw tiles by index, where they have been computed and only their merge is left.

    Returns:
        The output on the plan's root, unless it was streamed; None on the other ranks.
    """
    coder = TileCoder.of(vae, tuple(x.shape), plan.grid, call, plan.blend)
    if computed is not None:
        coder = ComputedTiles.over(coder, computed)
    me = rank.member.rank
    if me >= plan.ranks or (me != plan.root and me in plan.assignment.idle):
        return None
    exchange = rank.exchange(coder.device)
    try:
        with borrowed(vae, plan.grid):
            coder = with_statistics(coder, x, plan=plan, exchange=exchange, trace=rank.trace)
            return _compute(coder, x, plan=plan, exchange=exchange, rank=rank, stream=stream)
    finally:
        exchange.close()


def _compute(
    coder: TileCoder, x: Tensor, *, plan: TilePlan, exchange: Exchange, rank: Rank, stream: Stream | None
) -> Tensor | None:
    """Choose one of the four ways, and complete the output on the root."""
    trace = rank.trace
    if coder.whole:
        output = _compute_whole(coder, x, plan=plan, exchange=exchange, trace=trace)
        if stream is None or output is None:
            return output
        with trace(Kind.STREAM, Label(text="band 0"), bytes=output.nbytes):
            stream(output, 0)
        return None
    if stream is not None:
        stream_shares(coder, x, plan=plan, exchange=exchange, trace=trace, stream=stream, repeated=rank.repeated)
        return None
    if plan.finish == "shares":
        canvas = compute_shares(coder, x, plan=plan, exchange=exchange, trace=trace, repeated=rank.repeated)
    else:
        canvas = _compute_tiles(coder, x, plan=plan, exchange=exchange, trace=trace)
    if canvas is None:
        return None
    with trace(Kind.FINISH, Label(text="output"), bytes=canvas.nbytes):
        coder.finish(canvas)
        synchronise(coder.device)
    return canvas


def _compute_whole(
    coder: TileCoder, x: Tensor, *, plan: TilePlan, exchange: Exchange, trace: Recorder
) -> Tensor | None:
    """Make the model's own untiled call on the rank that owns the only tile, and send the output to the root."""
    me, owner = exchange.member.rank, plan.assignment.owners[0]
    output = None
    if me == owner:
        with trace(Kind.DECODE, Label(tile=0)):
            output = coder.compute_whole(x)
            synchronise(coder.device)
    if owner == plan.root:
        return output
    if output is not None:
        exchange.send(output, plan.root, Label(tile=0))
        exchange.flush()
        return None
    return exchange.take(exchange.receive(coder.shape, coder.dtype, owner, Label(tile=0)))


def _compute_tiles(
    coder: TileCoder, x: Tensor, *, plan: TilePlan, exchange: Exchange, trace: Recorder
) -> Tensor | None:
    """Compute this rank's tiles, and send them whole to the root, which merges all of them.

    Where three tiles meet, what one of them contributes depends on the two before it, blended already. So tiles cannot
    be blended where they were computed.
    """
    me = exchange.member.rank
    own: dict[int, Tensor] = {}
    for index in plan.assignment.tiles_of(me):
        tile = plan.grid.tiles[index]
        with trace(Kind.DECODE, Label(tile=index)):
            own[index] = coder(x, tile)
            synchronise(coder.device)
        if me != plan.root:
            exchange.send(own.pop(index), plan.root, Label(tile=index))
    if me != plan.root:
        exchange.flush()
        return None
    canvas, raw = coder.canvas(), _in_order(coder, plan, exchange=exchange, own=own)
    with trace(Kind.BLEND, Label(text="tiles"), bytes=canvas.nbytes):
        view = coder.raw_view(canvas)
        if plan.blend.merge == "cascade":
            cascade_merge(raw, plan.grid, boxes=coder.boxes, canvas=view)
        else:
            window_merge(raw, plan.grid, boxes=coder.boxes, ramp=plan.blend.ramp, canvas=view)
    return canvas


def _in_order(coder: TileCoder, plan: TilePlan, *, exchange: Exchange, own: dict[int, Tensor]) -> Iterator[Tensor]:
    """Yield all raw tiles in row-major order: the root's own, and the others' as they arrive."""
    posted: dict[int, Message] = {}
    remote = deque(tile for tile in plan.grid.tiles if tile.index not in own)
    for index, _ in enumerate(plan.grid.tiles):
        # A few receives at a time: enough to keep the links busy, and the root never holds all raw tiles. Each rank
        # sends its tiles in ascending order, so receives in row-major order match its sends.
        while remote and len(posted) < RECEIVES_IN_FLIGHT:
            tile = remote.popleft()
            shape, owner = coder.raw_shape(tile.box), plan.assignment.owners[tile.index]
            posted[tile.index] = exchange.receive(shape, coder.dtype, owner, Label(tile=tile.index))
        yield own.pop(index) if index in own else exchange.take(posted.pop(index))
