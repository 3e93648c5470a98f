"""Hybrids: several ranks compute one stage together and share its sequence (``sp``) or its weights (``tp``).

A plan for 2 stages with ``sp=2`` on 4 ranks. Lines along an axis of the mesh are process groups:

    axis pp (stages)         rank 0 --> rank 2        both hold the weights of stage 0, or of stage 1
                             rank 1 --> rank 3
    axis sp (the sequence)   {0, 1}, {2, 3}           each computes half of the tokens of one stage
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Groups, Member
from toolkit.distributed.comm.line import GroupLine, Line
from toolkit.distributed.comm.process_group_compat import AsyncCollectiveTensor
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.stages.places import Places
from toolkit.geometry.stage_plan import StagePlan
from toolkit.models.transformers.ghost import stand_in
from toolkit.models.transformers.layers import owned
from toolkit.models.transformers.sequence_parallel import SharedSequence, check_sequence
from toolkit.models.transformers.tensor_parallel import check_weights, cut_weights, share_weights
from toolkit.numerics.tensor_compat import tree_map_only


def check_shared(transformer: nn.Module, plan: StagePlan) -> None:
    """Refuse a transformer whose stages ranks cannot share in the way of a plan.

    Raises:
        ModelError: If the class, or the state of this transformer, does not allow it.
        PlanError: If its heads or weights do not divide evenly.
    """
    if plan.sp > 1:
        check_sequence(transformer, plan.sp)
    if plan.tp > 1:
        check_weights(transformer, plan.tp)


def cut(transformer: nn.Module, plan: StagePlan, rank: int) -> nn.Module:
    """Keep only a rank's part of the weights of its layers.

    Returns:
        The transformer to keep in place of the whole one from call to call.

    Raises:
        ModelError: If the layers of the rank cannot be cut.
    """
    if plan.tp == 1:
        return transformer
    layers = [name for span in plan.layers_of(rank) for name in owned(transformer, span)]
    return cut_weights(transformer, layers, part=plan.position(rank)["tp"], parts=plan.tp)


def sharers(places: Places, member: Member, *, groups: Groups, mesh: DeviceMesh | None = None) -> Line | None:
    """Return the line of ranks that share a stage with this one.

    Every rank of the default group calls this, even one without a part in the plan, because only all of them together
    can create groups.

    Args:
        places: Which rank does what.
        member: This process.
        groups: Creates and keeps the groups.
        mesh: A mesh that has the groups already, if there is one.

    Returns:
        The line; None if this rank computes its stages alone, or has none.
    """
    # A plan has one of the two axes at most.
    axis = next((axis for axis in ("sp", "tp") if places.plan.mesh[axis] > 1), None)
    if axis is None:
        return None
    if mesh is None:
        return groups.among(member, places.lines(axis))
    return None if mesh.get_coordinate() is None else GroupLine(mesh.get_group(axis))


def shared(transformer: nn.Module, places: Places, *, rank: Rank, line: Line | None) -> nn.Module:
    """Make the stand-in for a transformer whose stages are shared; its caller sees no difference.

    Args:
        transformer: The transformer, with weights at least for what this rank computes. It is not changed.
        places: Which rank does what.
        rank: This process.
        line: The ranks that share a stage with it (:func:`sharers`).

    Returns:
        The stand-in; the transformer itself if this rank shares nothing.

    Raises:
        ModelError: If the layers on this rank cannot be shared.
    """
    plan = places.plan
    if line is None or not places.chunks:
        return transformer
    if plan.sp > 1:
        return _sequence(transformer, line, rank=rank)
    layers = [name for chunk in places.chunks for name in owned(transformer, plan.split.stages[chunk])]
    total = partial(_total, line, rank.failure)
    return share_weights(transformer, layers, part=line.place, parts=plan.tp, total=total)


def _sequence(transformer: nn.Module, line: Line, *, rank: Rank) -> Any:
    """The stand-in that computes this rank's part of the sequence, by diffusers' own context parallelism."""
    device, failure = rank.device or device_of(transformer.parameters()), rank.failure
    sharing = SharedSequence(transformer, line.mesh(device), device)

    def forward(*args: Any, **kwargs: Any) -> Any:
        with sharing(args, kwargs), failure.explained():
            output = transformer(*args, **kwargs)
            # A gathered tensor is still under way, and waits only when torch first looks at it. Wait here, so that
            # everybody after this finds a plain tensor.
            return tree_map_only(AsyncCollectiveTensor, AsyncCollectiveTensor.wait, output)

    return stand_in(transformer, forward)


def _total(line: Line, failure: FailureFlag, tensor: Tensor) -> Tensor:
    """Add up the partial results of all ranks that share weights."""
    with failure.explained():
        return line.total(tensor)


def device_of(parameters: Iterable[Tensor]) -> torch.device:
    """The device of a module's weights. Weights of other ranks, on the meta device, do not count."""
    return next((p.device for p in parameters if not p.is_meta), torch.device("cpu"))
