"""A decode or encode on a cluster: the check before it, the calls to the workers, and the run made of the answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from toolkit.cluster.calls import Calls
from toolkit.cluster.decode_on_rank import decode_on_rank
from toolkit.cluster.engines.listener import Listener
from toolkit.cluster.stream import check_file, consumer
from toolkit.distributed.modes import Fit, fit
from toolkit.distributed.tiles.streaming import Stream
from toolkit.geometry.plan import Plan, or_none
from toolkit.models.autoencoders.input_check import check_input, warn_of_not_finite
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.model_check import checked_model, notes_on
from toolkit.models.module_compat import original
from toolkit.models.protocols import Autoencoder
from toolkit.runs.record import Record
from toolkit.runs.run import Run
from toolkit.runs.run_tables import memory_table, peak_table, trace_table
from toolkit.runs.trace import Event, clock
from toolkit.runs.video_file import VideoFile


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
    """

    vae: Autoencoder
    x: Tensor
    plan: Plan
    call: ModelCall
    memory: bool
    sink: Stream | VideoFile | None = None

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
        found = fit(vae, tuple(self.x.shape), plan=self.plan, call=self.call, stream=self.sink is not None)
        if self.sink is not None:
            check_file(self.sink, self.plan, shape=found.shape)
        # The caller of Cluster.decode is four calls up.
        notes = notes_on(self.vae) | warn_of_not_finite(self.x, self.call, stacklevel=4)
        return replace(found, notes=notes)

    def run(self, calls: Calls, listener: Listener, events: list[Event], *, fit: Fit, setting: dict[str, Any]) -> Run:
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
            vae, x, *_ = calls.prepare((model, self.x), listener)
            origin = clock()
            kwargs = {
                "plan": plan,
                "call": self.call,
                "origin": origin,
                "memory": self.memory,
                "streamed": streamed,
            }
            listener = replace(listener, on_band=take)
            answers = calls.call(ranks, decode_on_rank, (vae, x), kwargs, listener, wants_context=True)
            seconds = clock() - origin
        curves = [answers[rank][1] for rank in ranks]
        record = replace(record, what={**record.what, **answers[plan.output_rank][2], **calls.placed()})
        return Run(
            kept=answers[plan.output_rank][0],
            trace=trace_table(events),
            memory=memory_table(curves),
            peaks=peak_table(curves),
            record=record,
            plan=or_none(plan),
            seconds=seconds,
            ratio=fit.ratio,
            streamed=fit.shape if streamed else (),
        )
