"""A pipeline's call on a cluster: the check before it, the calls to the workers, and the run made of the answers."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from typing import Any

import torch
from torch import nn

from toolkit.cluster.calls import Calls
from toolkit.cluster.draws import Draws
from toolkit.cluster.engines.listener import Listener
from toolkit.cluster.folder_on_hosts import everywhere
from toolkit.cluster.generate_on_rank import RankCall, generate_on_rank
from toolkit.cluster.unused_branches import say_unused_branches
from toolkit.distributed.generating import check_requests, plans_of
from toolkit.distributed.stages.staged import check
from toolkit.errors import PlanError
from toolkit.geometry.plan import Plan, or_none, or_whole
from toolkit.geometry.stage_plan import Plans, StagePlan, first_plan
from toolkit.models.module_check import check_module
from toolkit.models.transformers.pipeline_parts import experts_of
from toolkit.models.transformers.stage_pipeline import hollow_parts
from toolkit.runs.record import Record
from toolkit.runs.run import Run
from toolkit.runs.run_tables import memory_table, peak_table, trace_table
from toolkit.runs.trace import Event, clock

Path = str | PathLike[str]


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One pipeline's call, or several in flight, that a cluster is asked for.

    Attributes:
        pipe: The pipeline, or the folder that it was saved in.
        plan: How its transformers are spread over the ranks; None: the pipeline's own call, on rank 0.
        call: The arguments of ``pipe(...)``.
        requests: What each of several calls has beside ``call``.
        memory: Whether to measure memory.
        load: With a folder: what the pipeline's ``from_pretrained`` is given.
        autocast: The dtype of ``torch.autocast`` around the call; None where it is off.
    """

    pipe: Any
    plan: StagePlan | Plans | None
    call: Mapping[str, Any]
    requests: Sequence[Mapping[str, Any]] | None
    memory: bool
    load: Mapping[str, Any] = field(default_factory=dict)
    autocast: torch.dtype | None = None

    @property
    def way(self) -> Plan:
        """The plan, the first of several; the plan that divides nothing where there is none."""
        return or_whole(first_plan(self.plan))

    @property
    def in_folder(self) -> bool:
        """Whether each worker loads its part of the pipeline from a folder."""
        return isinstance(self.pipe, str | PathLike)

    @property
    def plans(self) -> Plans:
        """The plan of each transformer; empty if there is none."""
        return plans_of(self.pipe, self.plan) if self.plan else {}

    @property
    def given(self) -> dict[str, Any]:
        """The pipeline and its arguments, as the record of a run names them."""
        return {"pipeline": fspath(self.pipe) if self.in_folder else type(self.pipe).__name__, **self.call}

    def check(self, ranks: int, *, weights: bool = True) -> None:
        """Refuse what cannot run on ``ranks`` ranks, before any worker is asked.

        Args:
            ranks: Number of ranks.
            weights: Whether the modules must have values, which a rehearsal does not need.

        Raises:
            PlanError: If the plan does not fit the pipeline or the cluster.
            ModelError: If the pipeline, or its state, cannot be served.
        """
        if self.load and not self.in_folder:
            raise PlanError("load= is for a pipeline in a folder: this pipeline is loaded already. Leave load= out.")
        one = first_plan(self.plan)
        if one is None or self.plan is None:
            if self.requests:
                raise PlanError("requests= without a plan: several calls in flight need a plan with Schedule.requests.")
            experts_of(self.pipe)
            self._check_modules(weights)
            return
        one.require_ranks(ranks, "cluster")
        plans = plans_of(self.pipe, self.plan)
        check_requests(one, self.requests, call=self.call)
        self._check_modules(weights)
        parts = hollow_parts(self.pipe, plans) if self.in_folder else {name: getattr(self.pipe, name) for name in plans}
        for name, transformer in parts.items():
            check(transformer, plans[name])

    def run(self, calls: Calls, listener: Listener, events: list[Event], *, ranks: int, setting: dict[str, Any]) -> Run:
        """Call the ranks, and make a run of their answers.

        Raises:
            PlanError: If the cluster's hosts divide ranks that share a stage.
        """
        way, draws = self.way, Draws.of(self.call, self.requests)
        if (one := first_plan(self.plan)) is not None:
            one.require_hosts(calls.pool.engine.hosts)
        source, modules = self._sent()
        what = {**setting, "call": "generate", "requests": len(self.requests or [{}])}
        record = Record.make(self._model(), self.given, plan=self.plan, what=what, where=calls.where)
        modules = dict(zip(modules, calls.prepare(tuple(modules.values()), listener), strict=True))
        if self.in_folder:
            source = everywhere(source, calls, listener)
        origin = clock()
        told = RankCall(
            source, self.plan, self.call, self.requests, self.load, tuple(modules), draws, self.autocast, origin,
            self.memory,
        )  # fmt: skip
        args = (told, *modules.values())
        # Every rank of the cluster makes the plan's process groups, also those that the plan has no work for.
        who = range(ranks) if self.plan else way.working
        answers = calls.call(who, generate_on_rank, args, {}, listener, wants_context=True)
        seconds = clock() - origin
        result, after, _ = answers[way.output_rank]
        draws.take_over(after)
        curves = [answers[rank][2] for rank in way.working]
        trace = trace_table(events)
        if one is not None:
            say_unused_branches(one, trace, pipeline=str(self.given["pipeline"]))
        return Run(
            kept=[_main(one) for one in result] if self.requests else _main(result),
            trace=trace,
            memory=memory_table(curves),
            peaks=peak_table(curves),
            record=replace(record, what={**record.what, **calls.placed()}),
            plan=or_none(way),
            seconds=seconds,
            result=result,
            plans=self.plans,
        )

    def _check_modules(self, weights: bool) -> None:
        """Refuse modules that cannot be sent to workers; a folder's are loaded there."""
        if not self.in_folder:
            for name, module in _modules(self.pipe).items():
                check_module(f"pipe.{name}", module, weights=weights)

    def _sent(self) -> tuple[Any, dict[str, nn.Module]]:
        """The pipeline without its modules, and the modules by name; or the folder and none."""
        if self.in_folder:
            return fspath(self.pipe), {}
        modules = _modules(self.pipe)
        bare = copy.copy(self.pipe)
        for name in modules:
            setattr(bare, name, None)
        bare.set_progress_bar_config(disable=True)
        return bare, modules

    def _model(self) -> nn.Module:
        name = next(iter(experts_of(self.pipe)))
        if not self.in_folder:
            return getattr(self.pipe, name)  # type: ignore[no-any-return]
        return hollow_parts(self.pipe, [name])[name]


def _modules(pipe: Any) -> dict[str, nn.Module]:
    return {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}


def _main(result: Any) -> Any:
    """The main part of a pipeline's result: frames, images or latents."""
    return None if result is None else result[0]
