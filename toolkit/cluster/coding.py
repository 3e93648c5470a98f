"""Decode and encode on a cluster: what is checked before, what each worker does, what the run is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from toolkit.cluster.calls import Calls
from toolkit.cluster.pool import Listener
from toolkit.cluster.worker import Context
from toolkit.distributed import coding
from toolkit.distributed.coding import Plan
from toolkit.distributed.norms import check_norm_passes
from toolkit.errors import PlanError
from toolkit.geometry.plan import TilePlan
from toolkit.geometry.shards import ShardPlan
from toolkit.measure import memory as memories
from toolkit.measure import trace as traces
from toolkit.measure.memory import MemoryCurve, measured
from toolkit.measure.record import Record
from toolkit.measure.run import Run
from toolkit.measure.trace import Event, Recorder
from toolkit.models.adapter import TileCoder
from toolkit.models.shards import sharding_of
from toolkit.models.whole import Call


@dataclass(frozen=True, slots=True)
class Request:
    """One decode or encode that a cluster is asked for.

    Attributes:
        vae: the model.
        x: the input of its call.
        plan: how the work is divided; None: the model's own call, on rank 0.
        call: which of its calls.
        memory: whether to measure memory.
    """

    vae: Any
    x: Tensor
    plan: Plan | None
    call: Call
    memory: bool

    @property
    def ranks(self) -> Sequence[int]:
        """Ranks that have work, or that the output goes to; the others are left alone."""
        if self.plan is None:
            return [0]
        return self.plan.working

    def check(self, ranks: int) -> dict[str, int]:
        """Refuse what cannot run on ``ranks`` ranks, before any worker starts.

        Returns:
            The sample's ratio along each axis of the plan.

        Raises:
            PlanError: where the plan does not fit the input or the cluster.
            ModelError: where the class cannot be served in this way.
        """
        what = {"decode": "latent", "encode": "sample"}[self.call.direction]
        if not isinstance(self.x, Tensor):
            raise PlanError(
                f"{what} is a {type(self.x).__name__}: give the torch.Tensor that vae.{self.call.direction} takes."
            )
        if self.plan is None:
            check_norm_passes(self.call, None)
            return {}
        if not isinstance(self.plan, TilePlan | ShardPlan):
            raise PlanError(
                f"plan is a {type(self.plan).__name__}: give a TilePlan, a ShardPlan, or None for the model's own call."
            )
        if self.plan.ranks > ranks:
            raise PlanError(
                f"the plan is for {self.plan.ranks} ranks, the cluster has {ranks}: "
                f"make a plan for {ranks} ranks, or a larger cluster."
            )
        check_norm_passes(self.call, self.plan)
        if isinstance(self.plan, ShardPlan):
            return sharding_of(self.vae, self.call).check(self.plan, tuple(self.x.shape))
        return TileCoder.of(self.vae, tuple(self.x.shape), self.plan.grid, self.call, self.plan.blend).ratio

    def run(
        self,
        calls: Calls,
        listener: Listener,
        events: list[Event],
        ratio: dict[str, int],
        setting: dict[str, Any],
    ) -> Run:
        """Call the ranks that take part, and put together what they answer."""
        ranks, plan = self.ranks, self.plan
        parts = {"ranks taking part": len(ranks), "norm passes": self.call.norm_passes}
        what = {**setting, "call": self.call.direction, **parts}
        record = Record.make(self.vae, self.x, plan, what)
        vae, x, *_ = calls.prepare((self.vae, self.x), listener)
        origin = traces.clock()
        args = (vae, x, plan, self.call, origin, self.memory)
        answers = calls.call(ranks, code_on_rank, args, {}, listener, wants_context=True)
        seconds = traces.clock() - origin
        curves = [answers[rank][1] for rank in ranks]
        return Run(
            output=answers[plan.root if plan else 0][0],
            trace=traces.frame(events),
            memory=memories.frame(curves),
            peaks=memories.peaks(curves),
            record=record,
            plan=plan,
            seconds=seconds,
            ratio=ratio,
        )


def code_on_rank(
    context: Context, vae: Any, x: Tensor, plan: Plan | None, call: Call, origin: float, memory: bool
) -> tuple[Tensor | None, MemoryCurve]:
    """What a worker does: the SPMD function, its events reported to the kernel as they end.

    Args:
        context: the worker.
        vae: the model on this worker.
        x: the input, shared by all workers.
        plan: the plan, or None for the model's own call.
        call: which of the model's calls.
        origin: the run's begin on the machine's clock.
        memory: whether to measure memory.

    Returns:
        The output (on the root) and the rank's memory curve.
    """
    rank = context.setup.rank
    trace = Recorder(rank, origin, listener=context.report)
    curve = MemoryCurve(rank)

    def go() -> Tensor | None:
        return coding.run(vae, x, plan, call, None, trace, context.setup.convolutions)

    if not memory:
        return go(), curve
    with measured(curve, context.device, origin):
        output = go()
    return output, curve
