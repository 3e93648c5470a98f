"""A transformer in stages, as an unmodified pipeline calls it."""

from __future__ import annotations

import inspect
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh
from torch.utils import _pytree as pytree

from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Groups, Member
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.stages.agenda import Agenda
from toolkit.distributed.stages.call import Call
from toolkit.distributed.stages.deferred import Deferred
from toolkit.distributed.stages.engine import Engine
from toolkit.distributed.stages.hybrid import check_shared, shared, sharers
from toolkit.distributed.stages.places import Places
from toolkit.errors import PlanError
from toolkit.geometry.stage_plan import StagePlan
from toolkit.models.transformers.ghost import stand_in
from toolkit.models.transformers.proof import Proof
from toolkit.models.transformers.split_check import check_class
from toolkit.models.transformers.splittable import check_fits, check_splittable
from toolkit.runs.trace import Recorder


def stage(
    plan: StagePlan,
    transformer: nn.Module,
    mesh: DeviceMesh | None = None,
    group: ProcessGroup | None = None,
    *,
    proof: Proof | None = None,
    trace: Recorder | None = None,
) -> Any:
    """Spread a transformer's layers over ranks; every rank of the group calls this, and then the same pipeline.

    What it returns takes the transformer's place in an unmodified pipeline. Its calls are deferred: the first look at
    a result computes all that are pending, in the order of the plan's schedule, and every rank has every result.

    Args:
        plan: Split and schedule.
        transformer: A diffusers transformer. It is not changed; layers of other ranks may be on the meta device.
        mesh: where the plan's axes of more than one rank lie; None: the group's first ranks.
        group: the ranks that call; None for the default group.
        proof: of a class that the toolkit does not know; see :func:`toolkit.models.transformers.split_check.prove`.
        trace: records what this rank did.

    Returns:
        A module of the transformer's own class that shares its weights. Call its ``close()`` at the end: it waits
        until what this rank has sent has left.

    Raises:
        PlanError: where the plan does not fit the transformer, the mesh or the group.
        ModelError: where the class is not known to be exact in stages.

    Example:
        >>> from toolkit.geometry import Schedule, StageSplit
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> specimen = transformer("Wan")
        >>> wan, inputs = specimen.build(), specimen.inputs()
        >>> plan = StagePlan(StageSplit.even(layers=4, stages=2), Schedule.looped(stages=1, branches=2, chunks=2))
        >>> split = stage(plan, wan)
        >>> (output,) = split(**inputs)
        >>> output.equal(wan(**inputs)[0])
        True
        >>> split.close()
    """
    if isinstance(plan, nn.Module):
        raise PlanError("stage(transformer, plan): the plan comes first, as in tk.virtual(plan, transformer).")
    member = Member.of(group)
    rank = Rank(member, FailureFlag(member.store, member.rank), trace or Recorder(member.rank), "aten")
    places = Places.of(plan, mesh, member.rank, member.size)
    check(transformer, plan, proof)
    with ExitStack() as stack:
        groups = stack.enter_context(closing(Groups()))
        part = shared(transformer, places, rank, sharers(places, member, groups, mesh))
        twin = staged(transformer, Engine(part, places, rank, groups), Agenda(rank))
        stack.pop_all()  # from here on, the twin's close() ends the groups
    finish = twin.close

    def close() -> None:
        with closing(groups):
            finish()

    twin.close = close
    return twin


def check(transformer: nn.Module, plan: StagePlan, proof: Proof | None = None) -> nn.Module:
    """The transformer, where it can be run in the stages of a plan; else a refusal."""
    check_splittable(transformer)
    check_fits(plan.split, transformer)
    check_class(transformer, proof)
    check_shared(transformer, plan)
    return transformer


def staged(transformer: nn.Module, engine: Engine, agenda: Agenda) -> Any:
    """A twin of a transformer whose calls an engine computes when the agenda says so."""
    calls = Calls(transformer, engine, agenda)
    twin = stand_in(transformer, calls)
    twin.close = calls.close
    return twin


class Calls:
    """What takes the place of a transformer's forward.

    Where it is not known what a call returns, the first one is computed at once, and shows it.
    """

    def __init__(self, transformer: nn.Module, engine: Engine, agenda: Agenda) -> None:
        self._signature = inspect.signature(transformer.forward)
        self._engine, self._agenda = engine, agenda

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Note a call, and return what stands for its result."""
        call = self._agenda.begin(self._engine, args, kwargs)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        as_dict = bool(bound.arguments.get("return_dict"))
        if as_dict in self._engine.returned and self._engine.plan.schedule.overlap:
            spec = self._engine.returned[as_dict]
            leaves = [Deferred(partial(self._leaf, call, place)) for place in range(spec.num_leaves)]
            return pytree.tree_unflatten(leaves, spec)
        self._agenda.settle(call)
        leaves, spec = pytree.tree_flatten(call.result)
        if all(isinstance(leaf, Tensor) for leaf in leaves):
            self._engine.returned[as_dict] = spec
        return call.result

    def _leaf(self, call: Call, place: int) -> Tensor:
        self._agenda.settle(call)
        leaf: Tensor = pytree.tree_leaves(call.result)[place]
        return leaf

    def close(self) -> None:
        """Compute what is pending, and wait until all that was sent has left."""
        self._agenda.close()
        self._engine.close()
