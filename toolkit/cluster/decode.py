"""What a worker does for ``Cluster.decode``: the SPMD function, traced and measured."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from toolkit import distributed
from toolkit.cluster.worker import Context
from toolkit.geometry.plan import TilePlan
from toolkit.measure.memory import MemoryCurve, measured
from toolkit.measure.trace import Recorder


def decode_on_rank(
    context: Context, vae: Any, latent: Tensor, plan: TilePlan | None, origin: float, memory: bool
) -> tuple[Tensor | None, MemoryCurve]:
    """Decode on this rank, reporting each event to the kernel.

    Args:
        context: the worker.
        vae: the model on this worker.
        latent: the latent, shared by all workers.
        plan: the plan, or None for the model's own call.
        origin: the run's begin on the machine's clock.
        memory: whether to measure memory.

    Returns:
        The sample (on the root) and the rank's memory curve.
    """
    rank = context.setup.rank
    trace = Recorder(rank, origin, listener=context.report)
    curve = MemoryCurve(rank)
    kind = context.setup.convolutions

    def go() -> Tensor | None:
        return distributed.decode(vae, latent, plan, trace=trace, convolutions=kind)

    if not memory:
        return go(), curve
    with measured(curve, context.device, origin):
        sample = go()
    return sample, curve
