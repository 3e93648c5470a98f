"""A pipeline as one rank of a plan runs it: transformers in stages, every other module where the plan has it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.group import Groups
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.stages.agenda import Agenda
from toolkit.distributed.stages.elsewhere import Elsewhere
from toolkit.distributed.stages.engine import PURPOSES, Engine
from toolkit.distributed.stages.hybrid import shared, sharers
from toolkit.distributed.stages.places import Places
from toolkit.distributed.stages.staged import check, staged
from toolkit.geometry.plan import or_whole
from toolkit.geometry.stage_plan import Plans, StagePlan
from toolkit.models.transformers.pipeline_parts import experts_of, modules_of

AFTER = frozenset(["vocoder", "safety_checker"])
"""Modules that a pipeline uses after its latents are decoded, on the rank that has them."""


class Assembly:
    """What this rank has of a pipeline.

    Args:
        pipe: a diffusers pipeline with weights at least where this rank computes. It is not changed.
        plans: how each of its transformers is spread over the ranks.
        rank: this process.
        groups: further groups of the same ranks.
    """

    def __init__(self, pipe: Any, plans: Plans, rank: Rank, groups: Groups) -> None:
        self.pipe, self.rank = pipe, rank
        self.plan = next(iter(plans.values()))
        self.engines = {
            name: self._engine(place, name, plans[name], groups) for place, name in enumerate(experts_of(pipe))
        }
        device = next(iter(self.engines.values())).device
        exchange = Exchange(groups.like(rank.member, PURPOSES[2]), rank.failure, rank.trace, device)
        self.elsewhere = Elsewhere(rank, exchange, self.plan.ranks)

    def _engine(self, place: int, name: str, plan: StagePlan, groups: Groups) -> Engine:
        transformer = getattr(self.pipe, name)
        places = Places.of(plan, None, self.rank.member.rank, plan.ranks, place % plan.experts)
        label = name if len(experts_of(self.pipe)) > 1 else ""
        group = sharers(places, self.rank.member, groups)
        return Engine(shared(check(transformer, plan), places, self.rank, group), places, self.rank, groups, label)

    def pipeline(self, agenda: Agenda) -> Any:
        """A twin of the pipeline whose modules are this rank's, with schedulers of its own."""
        twin = copy.copy(self.pipe)
        for name, part in self.pipe.components.items():
            if part is not None and not isinstance(part, nn.Module) and hasattr(part, "config"):
                setattr(twin, name, copy.deepcopy(part))
        for name, engine in self.engines.items():
            setattr(twin, name, staged(getattr(self.pipe, name), engine, agenda))
        for name in modules_of(self.pipe):
            setattr(twin, name, self._module(name, getattr(self.pipe, name), agenda))
        return twin

    def _module(self, name: str, module: nn.Module, agenda: Agenda) -> Any:
        if "vae" in name:
            return self.elsewhere.vae(name, module, self.plan.vae, self.plan.output_rank, agenda)
        if name in AFTER:
            return module
        return self.elsewhere.encoder(name, module, self.plan.encoders)

    def close(self) -> None:
        """Wait until all that was sent has left, and end the links."""
        for engine in self.engines.values():
            engine.close()
        self.elsewhere.close()

    def abandon(self) -> None:
        """End the links, after a failure."""
        for engine in self.engines.values():
            engine.abandon()
        self.elsewhere.exchange.close()


def modules_on(rank: int, plan: StagePlan, names: Mapping[str, Any]) -> list[str]:
    """Which of a pipeline's other modules a rank needs the weights of."""
    decoding = or_whole(plan.vae).working
    found = []
    for name in names:
        if "vae" in name:
            ranks = {*decoding, plan.output_rank}
        elif name in AFTER:
            ranks = {plan.output_rank}
        else:
            ranks = {plan.encoders}
        if rank in ranks:
            found.append(name)
    return found
