"""A staged transformer: its layers are on several ranks, and an unmodified pipeline calls it like any other."""

from __future__ import annotations

import inspect
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh

from toolkit.distributed.comm.group import Groups, Member
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.stages.agenda import Agenda
from toolkit.distributed.stages.deferred import Deferred
from toolkit.distributed.stages.deferred_call import DeferredCall
from toolkit.distributed.stages.engine import Engine
from toolkit.distributed.stages.hybrid import check_shared, shared, sharers
from toolkit.distributed.stages.places import Places
from toolkit.errors import PlanError
from toolkit.geometry.stage_plan import StagePlan
from toolkit.models.transformers.ghost import stand_in
from toolkit.models.transformers.proof import Proof
from toolkit.models.transformers.split_check import check_class
from toolkit.models.transformers.splittable import check_fits, check_splittable
from toolkit.numerics.tensor_compat import tree_flatten, tree_leaves, tree_unflatten
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
    """Split a transformer's layers over ranks. Every rank of the group calls this, and then runs the same pipeline.

    The returned module takes the transformer's place in an unmodified pipeline. Its calls are deferred: the first look
    at a result computes all pending calls, in the order of the plan's schedule. Every rank gets every result.

    Args:
        plan: The split of the layers, and the schedule.
        transformer: A diffusers transformer. It is not changed; layers of other ranks may be on the meta device.
        mesh: A device mesh with the plan's axes that have more than one rank; None: the group's first ranks.
        group: The ranks that make this call; None: those of a mesh with one axis, or else the default group.
        proof: The proof for a class that the toolkit does not know; see
            :func:`toolkit.models.transformers.split_check.prove`.
        trace: Records what this rank does.

    Returns:
        A module of the transformer's own class that shares its weights. Call its ``close()`` at the end. It waits
        until everything that this rank has sent has left.

    Raises:
        PlanError: If the plan does not fit the transformer, the mesh or the group.
        ModelError: If the class is not known to be exact in stages.

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
    rank = Rank.of(group or _line_of(mesh), trace, "aten")
    member = rank.member
    places = Places.of(plan, mesh, me=member.rank, size=member.size, numbers=None if mesh is None else member.numbers)
    check(transformer, plan, proof=proof)
    with ExitStack() as stack:
        groups = stack.enter_context(closing(Groups()))
        part = shared(transformer, places, rank=rank, line=sharers(places, member, groups=groups, mesh=mesh))
        twin = staged(transformer, Engine(part, places, rank=rank, groups=groups), agenda=Agenda(rank))
        # Nothing has failed, so the groups must outlive this function: the twin's close() ends them.
        stack.pop_all()
    close_calls = twin.close

    def close() -> None:
        with closing(groups):
            close_calls()

    twin.close = close
    return twin


def _line_of(mesh: DeviceMesh | None) -> ProcessGroup | None:
    """The group of a mesh with one axis; None for the default group.

    A mesh of all ranks, cut along one axis, gives each of its lines another mesh. They run side by side, so each must
    keep to its own group.
    """
    if mesh is None or mesh.ndim > 1 or mesh.size() == Member.of(None).size:
        return None
    if mesh.get_coordinate() is None:
        raise PlanError("this rank is not in the mesh: call stage on the mesh's ranks only, or give group=.")
    return mesh.get_group()


def check(transformer: nn.Module, plan: StagePlan, *, proof: Proof | None = None) -> nn.Module:
    """Return the transformer if it can be run in the stages of a plan.

    Raises:
        PlanError: If the plan does not fit the transformer.
        ModelError: If the class, or the state of this transformer, is not known to be exact in stages.
    """
    check_splittable(transformer)
    check_fits(plan.split, transformer)
    check_class(transformer, proof)
    check_shared(transformer, plan)
    return transformer


def staged(transformer: nn.Module, engine: Engine, *, agenda: Agenda) -> Any:
    """Make a twin of a transformer whose calls go to an agenda, and are computed by an engine."""
    forward = DeferredForward(transformer, engine, agenda)
    twin = stand_in(transformer, forward)
    twin.close = forward.close
    return twin


class DeferredForward:
    """Takes the place of a transformer's forward: records each call, and returns deferred tensors.

    To return deferred tensors it must know the structure of the output. If that is not known of the class, the first
    call is computed at once and shows it.

    Args:
        transformer: The transformer, for its signature.
        engine: Computes its calls.
        agenda: Decides when they run.
    """

    def __init__(self, transformer: nn.Module, engine: Engine, agenda: Agenda) -> None:
        self._signature = inspect.signature(transformer.forward)
        self._engine, self._agenda = engine, agenda

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Record a call, and return what stands for its result."""
        call = self._agenda.begin(self._engine, args, kwargs)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        # The structure depends on return_dict: a plain tuple, or an output class of diffusers.
        as_dict = bool(bound.arguments.get("return_dict"))
        if as_dict in self._engine.returned and self._engine.plan.schedule.overlap:
            spec = self._engine.returned[as_dict]
            leaves = [Deferred(partial(self._leaf, call, place)) for place in range(spec.num_leaves)]
            return tree_unflatten(leaves, spec)
        self._agenda.settle(call)
        leaves, spec = tree_flatten(call.result)
        if all(isinstance(leaf, Tensor) for leaf in leaves):
            self._engine.returned[as_dict] = spec
        return call.result

    def _leaf(self, call: DeferredCall, place: int) -> Tensor:
        self._agenda.settle(call)
        leaf: Tensor = tree_leaves(call.result)[place]
        return leaf

    def close(self) -> None:
        """Compute the calls that are still pending, and wait until everything sent has left."""
        self._agenda.close()
        self._engine.close()
