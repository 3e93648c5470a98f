"""What a worker does for a decode or encode. It loads nothing that only the kernel needs."""

from __future__ import annotations

from contextlib import nullcontext

from torch import Tensor

from toolkit.cluster.engines.context import Context, Reports
from toolkit.cluster.outlet import Outlet
from toolkit.distributed import decoding
from toolkit.geometry.plan import Plan
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.protocols import Autoencoder
from toolkit.runs.memory import MemoryCurve, measured
from toolkit.runs.trace import Recorder


def decode_on_rank(
    context: Context,
    vae: Autoencoder,
    x: Tensor,
    *,
    plan: Plan,
    call: ModelCall,
    origin: float,
    memory: bool,
    streamed: bool,
) -> tuple[Tensor | None, MemoryCurve, dict[str, object]]:
    """What a worker does: the SPMD function, with its events reported to the kernel as they end.

    Args:
        context: The worker.
        vae: The model on this worker.
        x: The input, in memory shared by all workers.
        plan: How the work is divided.
        call: The model call to make.
        origin: When the run began, on the kernel's clock.
        memory: Whether to measure memory.
        streamed: Whether the output goes to the kernel in bands.

    Returns:
        The output (on the plan's output rank, unless streamed), the rank's memory curve, and notes for the record.
    """
    rank, reports, origin = context.setup.rank, Reports(context.line), context.here(origin)
    trace, curve = Recorder(rank, origin, listener=reports.add), MemoryCurve(rank)
    outlet = Outlet(context.line) if streamed else None
    convolutions = context.setup.convolutions
    try:
        with measured(curve, context.device, origin=origin) if memory else nullcontext():
            output = decoding.run(vae, x, plan, call, trace=trace, convolutions=convolutions, stream=outlet)
            if outlet is not None:
                outlet.close()
    finally:
        reports.flush()
    return output, curve, trace.notes
