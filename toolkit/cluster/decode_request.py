"""A decode or encode on a cluster: the check before it, the calls to the workers, and the run made of the answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from torch import Tensor

from toolkit.cluster.calls import Calls
from toolkit.cluster.decode_on_rank import decode_on_rank
from toolkit.cluster.engines.faults import ran_out_of_memory
from toolkit.cluster.engines.listener import Listener
from toolkit.cluster.going_on import GoingOn, check_going_on
from toolkit.cluster.smaller_tiles import check_smaller, say_smaller, smaller
from toolkit.cluster.stream import check_file, consumer
from toolkit.distributed.modes import Fit, fit
from toolkit.distributed.tiles.streaming import Stream
from toolkit.errors import RankDied, RunError
from toolkit.geometry.checks import check_choice
from toolkit.geometry.plan import Plan, or_none
from toolkit.geometry.tile_plan import TilePlan
from toolkit.models.autoencoders.input_check import check_input, warn_of_not_finite
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.model_check import checked_model, notes_on
from toolkit.models.module_compat import original
from toolkit.models.protocols import Autoencoder
from toolkit.runs.memory import MemoryCurve
from toolkit.runs.record import Record
from toolkit.runs.run import Run
from toolkit.runs.run_tables import memory_table, peak_table, trace_table
from toolkit.runs.trace import Event, clock
from toolkit.runs.video_file import VideoFile

OnLoss = Literal["raise", "continue"]
OnOom = Literal["raise", "smaller"]
MOST_STARTS = 3
"""How often workers are started anew for a run that is to go on, where one is lost before its first tile."""


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """One decode or encode that a cluster is asked for.

    Attributes:
        vae: The model.
        x: The input of its call.
        plan: How the work is divided.
        call: The model call to make.
        memory: Whether to measure memory.
        sink: Where the output goes in bands; None: into the run.
        on_loss: What happens when the process of a rank ends.
        on_oom: What happens when a rank runs out of memory.
    """

    vae: Autoencoder
    x: Tensor
    plan: Plan
    call: ModelCall
    memory: bool
    sink: Stream | VideoFile | None = None
    on_loss: OnLoss = "raise"
    on_oom: OnOom = "raise"

    def check(self, ranks: int) -> Fit:
        """Refuse what cannot run on ``ranks`` ranks, before any worker is asked.

        Returns:
            What is known of the output.

        Raises:
            PlanError: If the plan does not fit the input or the cluster, or the input does not fit the model.
            ModelError: If the class, or the state of this model, cannot be served in this way.
        """
        vae = checked_model(self.vae, self.call, self.plan)
        check_input(vae, self.x, self.call)
        self.plan.require_ranks(ranks, "cluster")
        check_choice("on_loss", self.on_loss, choices=get_args(OnLoss))
        check_choice("on_oom", self.on_oom, choices=get_args(OnOom))
        if self.on_loss == "continue":
            check_going_on(self.plan, self.call, streamed=self.sink is not None)
        if self.on_oom == "smaller":
            check_smaller(self.plan, streamed=self.sink is not None)
        found = fit(vae, tuple(self.x.shape), plan=self.plan, call=self.call, stream=self.sink is not None)
        if self.sink is not None:
            check_file(self.sink, self.plan, shape=found.shape)
        # The caller of Cluster.decode is four calls up.
        notes = notes_on(self.vae) | warn_of_not_finite(self.x, self.call, stacklevel=4)
        return replace(found, notes=notes)

    def run(self, calls: Calls, listener: Listener, events: list[Event], *, fit: Fit, setting: dict[str, Any]) -> Run:
        """As :meth:`run_once`, with smaller tiles as often as memory runs out, if that is wanted."""
        request, found = self, fit
        notes: dict[str, Any] = {}
        while True:
            try:
                run = request.run_once(calls, listener, events, fit=found, setting={**setting, **notes})
            except RunError as error:
                plan = smaller(request.plan) if self.on_oom == "smaller" and ran_out_of_memory(error) else None
                if plan is None:
                    raise
                say_smaller(request.plan, plan)
                request = replace(request, plan=plan)
                found = request.check(plan.ranks)
                notes = {"smaller tiles than asked for": f"{self.plan}, out of memory"}
            else:
                return run

    def run_once(
        self, calls: Calls, listener: Listener, events: list[Event], *, fit: Fit, setting: dict[str, Any]
    ) -> Run:
        """Call the ranks that take part, and make a run of their answers.

        Args:
            calls: The cluster's workers.
            listener: Hears what the workers report.
            events: The list that their events go to.
            fit: What :meth:`check` returned.
            setting: The cluster's part of the record.
        """
        ranks, plan, streamed = self.plan.working, self.plan, self.sink is not None
        parts = {
            "ranks taking part": len(ranks),
            "norm passes": self.call.options.norm_passes,
            "streamed": streamed,
            **fit.notes,
        }
        model = original(self.vae)
        record = Record.make(
            model,
            self.x,
            plan=or_none(plan),
            what={**setting, "call": self.call.direction.value, **parts},
            where=calls.where,
        )
        with consumer(self.sink) as take:
            lost: list[RankDied] = []
            vae, x, *_ = self._prepared(calls, (model, self.x), listener, lost)
            origin = clock()
            kwargs = {
                "plan": plan,
                "call": self.call,
                "origin": origin,
                "memory": self.memory,
                "streamed": streamed,
            }
            if self.on_loss == "continue":
                output, curves, notes = self._go_on(calls, listener, (vae, x), kwargs, lost)
            else:
                listener = replace(listener, on_band=take)
                answers = calls.call(ranks, decode_on_rank, (vae, x), kwargs, listener, wants_context=True)
                output, _, notes = answers[plan.output_rank]
                curves = [answers[rank][1] for rank in ranks]
            seconds = clock() - origin
        record = replace(record, what={**record.what, **notes, **calls.placed()})
        return Run(
            kept=output,
            trace=trace_table(events),
            memory=memory_table(curves),
            peaks=peak_table(curves),
            record=record,
            plan=or_none(plan),
            seconds=seconds,
            ratio=fit.ratio,
            streamed=fit.shape if streamed else (),
        )

    def _prepared(
        self, calls: Calls, args: tuple[Any, ...], listener: Listener, lost: list[RankDied]
    ) -> tuple[Any, ...]:
        """The arguments as the workers take them; with new workers, if one is lost and the run is to go on."""
        while True:
            try:
                return calls.prepare(args, listener)
            except RankDied as error:
                lost.append(error)
                if self.on_loss == "raise" or len(lost) > MOST_STARTS:
                    raise

    def _go_on(
        self,
        calls: Calls,
        listener: Listener,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        lost: list[RankDied],
    ) -> tuple[Tensor, list[MemoryCurve], dict[str, Any]]:
        """Make the call by whoever is left."""
        assert isinstance(self.plan, TilePlan)
        kwargs = {name: value for name, value in kwargs.items() if name != "streamed"}
        work = GoingOn(calls, self.plan, listener, args, kwargs, before=lost)
        output = work.run()
        return output, [work.curves[rank] for rank in sorted(work.curves)], work.notes
