"""What a worker does of a decode that goes on when a worker is lost: some raw tiles, or the merge of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

from torch import Tensor

from toolkit.cluster.engines.context import Context, Reports
from toolkit.cluster.outlet import Outlet
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.tiles.raw_tiles import compute_raw, merge_raw
from toolkit.geometry.tile_plan import TilePlan
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.protocols import Autoencoder
from toolkit.numerics.convolution import convolution_kernels
from toolkit.runs.memory import MemoryCurve, measured
from toolkit.runs.trace import Event, Kind, Recorder


def raw_tiles_on_rank(
    context: Context,
    vae: Autoencoder,
    x: Tensor,
    *,
    plan: TilePlan,
    call: ModelCall,
    origin: float,
    memory: bool,
    tiles: Mapping[int, Sequence[int]],
) -> MemoryCurve:
    """Compute this worker's tiles, and hand each over to the kernel, which keeps it whatever becomes of this worker.

    Args:
        context: The worker.
        vae: The model on this worker.
        x: The input.
        plan: How the work was divided at first.
        call: The model call to make.
        origin: When the run began, on the kernel's clock.
        memory: Whether to measure memory.
        tiles: The tiles to compute now, by rank.
    """
    rank, reports, origin = context.setup.rank, Reports(context.line), context.here(origin)
    trace, curve, outlet = Recorder(rank, origin, listener=reports.add), MemoryCurve(rank), Outlet(context.line)
    try:
        with (
            measured(curve, context.device, origin=origin) if memory else nullcontext(),
            convolution_kernels(context.setup.convolutions),
        ):
            compute_raw(vae, x, plan=plan, call=call, tiles=tiles.get(rank, ()), trace=trace, take=outlet)
            outlet.close()
    finally:
        reports.flush()
    return curve


def merge_on_rank(
    context: Context,
    vae: Autoencoder,
    x: Tensor,
    *,
    plan: TilePlan,
    call: ModelCall,
    origin: float,
    raw: Mapping[int, Tensor],
) -> Tensor:
    """Merge all tiles of a plan on this worker's device.

    Args:
        context: The worker.
        vae: The model on this worker.
        x: The input.
        plan: How the work was divided at first.
        call: The model call.
        origin: When the run began, on the kernel's clock.
        raw: The raw tiles by index.
    """
    reports = Reports(context.line)

    def add(event: Event) -> None:
        if event.kind is not Kind.DECODE:  # its tiles are computed already
            reports.add(event)

    trace = Recorder(context.setup.rank, context.here(origin), listener=add)
    try:
        with convolution_kernels(context.setup.convolutions):
            return merge_raw(vae, x, plan=plan, call=call, raw=raw, rank=replace(Rank.alone(), trace=trace))
    finally:
        reports.flush()
