"""Decode and encode on a cluster: what is checked before, what each worker does, what the run is made of."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from toolkit.cluster.calls import Calls
from toolkit.cluster.engines.local.pool import Listener
from toolkit.cluster.engines.local.worker import Context, Reports
from toolkit.cluster.stream import Outlet, check_file, consumer
from toolkit.distributed import decoding
from toolkit.distributed.decoding import Plan
from toolkit.distributed.tiles.norm_passes import check_norm_passes
from toolkit.distributed.tiles.streaming import Stream, check_stream
from toolkit.errors import PlanError
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.tile_plan import TilePlan
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.shard_preparation import sharding_of
from toolkit.models.autoencoders.tile_coder import TileCoder
from toolkit.runs import memory as memories
from toolkit.runs import trace as traces
from toolkit.runs.memory import MemoryCurve, measured
from toolkit.runs.record import Record
from toolkit.runs.run import Run
from toolkit.runs.trace import Event, Recorder
from toolkit.runs.video_file import VideoFile


@dataclass(frozen=True, slots=True)
class Request:
    """One decode or encode that a cluster is asked for.

    Attributes:
        vae: the model.
        x: the input of its call.
        plan: how the work is divided; None: the model's own call, on rank 0.
        call: which of its calls.
        memory: whether to measure memory.
        sink: where the output goes in bands; None: into the run.
    """

    vae: Any
    x: Tensor
    plan: Plan | None
    call: ModelCall
    memory: bool
    sink: Stream | VideoFile | None = None

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
            self._check_options()
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
        self._check_options()
        if isinstance(self.plan, ShardPlan):
            return sharding_of(self.vae, self.call).check(self.plan, tuple(self.x.shape))
        coder = self._coder(self.plan)
        if self.sink is not None:
            check_file(self.sink, self.plan, coder.shape)
        return coder.ratio

    def _check_options(self) -> None:
        check_norm_passes(self.call, self.plan)
        if self.sink is not None:
            check_stream(self.plan)

    def _coder(self, plan: TilePlan) -> TileCoder:
        return TileCoder.of(self.vae, tuple(self.x.shape), plan.grid, self.call, plan.blend)

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
        shape = self._coder(plan).shape if isinstance(plan, TilePlan) and self.sink is not None else ()
        parts = {"ranks taking part": len(ranks), "norm passes": self.call.options.norm_passes, "streamed": bool(shape)}
        what = {**setting, "call": self.call.direction.value, **parts}
        record = Record.make(self.vae, self.x, plan, what)
        with consumer(self.sink) as take:
            vae, x, *_ = calls.prepare((self.vae, self.x), listener)
            origin = traces.clock()
            args = (vae, x, plan, self.call, origin, self.memory, bool(shape))
            listener = replace(listener, on_band=take)
            answers = calls.call(ranks, code_on_rank, args, {}, listener, wants_context=True)
            seconds = traces.clock() - origin
        curves = [answers[rank][1] for rank in ranks]
        return Run(
            kept=answers[plan.root if plan else 0][0],
            trace=traces.frame(events),
            memory=memories.frame(curves),
            peaks=memories.peaks(curves),
            record=record,
            plan=plan,
            seconds=seconds,
            ratio=ratio,
            streamed=shape,
        )


def code_on_rank(
    context: Context,
    vae: Any,
    x: Tensor,
    plan: Plan | None,
    call: ModelCall,
    origin: float,
    memory: bool,
    streamed: bool,
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
        streamed: whether the output goes to the kernel in bands.

    Returns:
        The output (on the root, unless streamed) and the rank's memory curve.
    """
    rank, reports = context.setup.rank, Reports(context.line)
    trace, curve = Recorder(rank, origin, listener=reports.add), MemoryCurve(rank)
    outlet = Outlet(context.line) if streamed else None
    try:
        with measured(curve, context.device, origin) if memory else nullcontext():
            output = decoding.run(vae, x, plan, call, None, trace, context.setup.convolutions, stream=outlet)
            if outlet is not None:
                outlet.close()
    finally:
        reports.flush()
    return output, curve
