"""A pipeline as one rank of a plan runs it: transformers in stages, every other module on the rank that has it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from toolkit.distributed.comm.group import Groups
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.stages.agenda import Agenda
from toolkit.distributed.stages.engine import PURPOSES, Engine
from toolkit.distributed.stages.hybrid import shared, sharers
from toolkit.distributed.stages.places import Places
from toolkit.distributed.stages.remote_modules import RemoteModules
from toolkit.distributed.stages.staged import check, staged
from toolkit.geometry.plan import or_whole
from toolkit.geometry.stage_plan import Plans, StagePlan
from toolkit.models.transformers.pipeline_parts import experts_of, modules_of
from toolkit.numerics.tensor_compat import tree_leaves

AFTER = frozenset(["vocoder", "safety_checker"])
"""Modules that a pipeline uses after its latents are decoded, so only on the rank that goes on with the pipeline."""


class Assembly:
    """This rank's part of a pipeline.

    Args:
        pipe: A diffusers pipeline with weights at least for what this rank computes. It is not changed.
        plans: How each of its transformers is split over the ranks.
        rank: This process.
        groups: Further groups of the same ranks.
    """

    def __init__(self, pipe: Any, plans: Plans, rank: Rank, groups: Groups) -> None:
        self.pipe, self.rank = pipe, rank
        self.plan = next(iter(plans.values()))
        self.engines = {
            name: self._engine(place, name, plan=plans[name], groups=groups)
            for place, name in enumerate(experts_of(pipe))
        }
        device = next(iter(self.engines.values())).device
        member = groups.like(rank.member, PURPOSES[4])
        exchange = rank.exchange(device, member)
        self.remote = RemoteModules(rank, exchange, self.plan.ranks)

    def _engine(self, place: int, name: str, *, plan: StagePlan, groups: Groups) -> Engine:
        transformer = getattr(self.pipe, name)
        me = self.rank.member.rank
        places = Places.of(plan, None, me=me, size=plan.ranks, expert=place % plan.experts)
        label = name if len(experts_of(self.pipe)) > 1 else ""
        line = sharers(places, self.rank.member, groups=groups)
        twin = shared(check(transformer, plan), places, rank=self.rank, line=line)
        return Engine(twin, places, rank=self.rank, groups=groups, name=label)

    def pipeline(self, agenda: Agenda) -> Any:
        """Make a twin of the pipeline for one request.

        Args:
            agenda: The agenda that the request's calls go to.

        Returns:
            A copy of the pipeline with twins of its modules, and with schedulers of its own.
        """
        twin = copy.copy(self.pipe)
        for name, part in self.pipe.components.items():
            # A scheduler counts its steps in itself, so requests in flight must not share one.
            if part is not None and not isinstance(part, nn.Module) and hasattr(part, "config"):
                setattr(twin, name, _copied(part))
        for name, engine in self.engines.items():
            setattr(twin, name, staged(getattr(self.pipe, name), engine, agenda=agenda))
        for name in modules_of(self.pipe):
            setattr(twin, name, self._module(name, getattr(self.pipe, name), agenda=agenda))
        return twin

    def _module(self, name: str, module: nn.Module, *, agenda: Agenda) -> Any:
        if "vae" in name:
            return self.remote.vae(name, module, plan=self.plan.vae, root=self.plan.output_rank, agenda=agenda)
        if name in AFTER:
            return module
        return self.remote.encoder(name, module, owner=self.plan.encoders)

    def close(self) -> None:
        """Wait until everything sent has left, and end the links."""
        for engine in self.engines.values():
            engine.close()
        self.remote.close()

    def abandon(self) -> None:
        """End the links after a failure, without waiting for what was sent."""
        for engine in self.engines.values():
            engine.abandon()
        self.remote.exchange.close()


def _copied(part: Any) -> Any:
    """Copy a scheduler, each of its tensors in memory of its own.

    On a worker they are views of one block, in which all arguments of the call lie. ``copy.deepcopy`` alone would copy
    all of the block, pictures and embeddings too.
    """
    tensors = [value for value in tree_leaves(vars(part)) if isinstance(value, Tensor)]
    # deepcopy asks this table first.
    return copy.deepcopy(part, {id(tensor): tensor.clone() for tensor in tensors})


def transformers_on(rank: int, plans: Plans) -> list[str]:
    """List the transformers that a rank has layers of: where each has ranks of its own, only one of them."""
    one = next(iter(plans.values()))
    return [name for place, name in enumerate(plans) if place % one.experts == one.expert_of(rank)]


def modules_on(rank: int, plan: StagePlan, *, names: Mapping[str, Any]) -> list[str]:
    """List the modules besides transformers whose weights a rank needs.

    Args:
        rank: The rank.
        plan: The plan of the pipeline's transformers.
        names: The pipeline's modules by name.
    """
    decoding = or_whole(plan.vae).working
    found = []
    for name in names:
        if "vae" in name:
            # The output rank encodes for all, so it needs the VAE even if others decode.
            ranks = {*decoding, plan.output_rank}
        elif name in AFTER:
            ranks = {plan.output_rank}
        else:
            ranks = {plan.encoders}
        if rank in ranks:
            found.append(name)
    return found
