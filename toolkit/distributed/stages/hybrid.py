"""Hybrids: ranks that share the sequence or the weights of each other's stages."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.distributed._functional_collectives import AsyncCollectiveTensor
from torch.distributed.device_mesh import DeviceMesh
from torch.utils import _pytree as pytree

from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Groups, Member
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.stages.places import Places
from toolkit.geometry.stage_plan import StagePlan
from toolkit.models.transformers.ghost import stand_in
from toolkit.models.transformers.layers import owned
from toolkit.models.transformers.sequence_parallel import SharedSequence, check_sequence
from toolkit.models.transformers.tensor_parallel import check_weights, cut_weights, share_weights


def check_shared(transformer: nn.Module, plan: StagePlan) -> None:
    """Refuse a transformer whose stages ranks cannot share as a plan has it.

    Raises:
        ModelError: where one of this class, or in this state, cannot be shared.
        PlanError: where it does not divide.
    """
    if plan.sp > 1:
        check_sequence(transformer, plan.sp)
    if plan.tp > 1:
        check_weights(transformer, plan.tp)


def cut(transformer: nn.Module, plan: StagePlan, rank: int) -> nn.Module:
    """A transformer with a rank's part of its layers' weights, to be kept in place of the whole from call to call.

    Raises:
        ModelError: where the layers of the rank cannot be cut.
    """
    if plan.tp == 1:
        return transformer
    layers = [name for span in plan.layers_of(rank) for name in owned(transformer, span)]
    return cut_weights(transformer, layers, plan.position(rank)["tp"], plan.tp)


def sharers(places: Places, member: Member, groups: Groups, mesh: DeviceMesh | None = None) -> ProcessGroup | None:
    """The group of ranks that share a stage with this one; None where it is alone with its own, or has none.

    Every rank of the default group asks for it, those without a part in the plan too: only all together make groups.

    Args:
        places: who does what.
        member: this process.
        groups: where they are kept.
        mesh: has them already.
    """
    axis = next((axis for axis in ("sp", "tp") if places.plan.mesh[axis] > 1), None)
    if axis is None:
        return None
    if mesh is None:
        return groups.among(member, places.lines(axis))
    return None if mesh.get_coordinate() is None else mesh.get_group(axis)


def shared(transformer: nn.Module, places: Places, rank: Rank, group: ProcessGroup | None) -> nn.Module:
    """What takes the place of a transformer where ranks share its stages: the same to its caller.

    Args:
        transformer: with weights at least where this rank computes. It is not changed.
        places: who does what.
        rank: this process.
        group: those that share a stage with it (:func:`sharers`).

    Raises:
        ModelError: where the layers on this rank cannot be shared.
    """
    plan = places.plan
    if group is None or not places.chunks:
        return transformer
    if plan.sp > 1:
        return _sequence(transformer, group, rank.failure)
    layers = [name for chunk in places.chunks for name in owned(transformer, plan.split.stages[chunk])]
    return share_weights(transformer, layers, dist.get_rank(group), plan.tp, partial(_total, group, rank.failure))


def _sequence(transformer: nn.Module, group: ProcessGroup, failure: FailureFlag) -> Any:
    device = device_of(transformer.parameters())
    mesh = DeviceMesh.from_group(group, device.type, mesh_dim_names=("ulysses",))
    sharing = SharedSequence(transformer, mesh, device)

    def forward(*args: Any, **kwargs: Any) -> Any:
        with sharing(args, kwargs):
            try:
                output = transformer(*args, **kwargs)
                # What a rank gathers comes as a tensor that waits when it is looked at.
                return pytree.tree_map_only(AsyncCollectiveTensor, AsyncCollectiveTensor.wait, output)
            except RuntimeError:
                failure.check(patience=2.0)  # a rank that failed closes its connections: its reason is worth more
                raise

    return stand_in(transformer, forward)


def _total(group: ProcessGroup, failure: FailureFlag, tensor: Tensor) -> Tensor:
    try:
        dist.all_reduce(tensor, group=group)
    except RuntimeError:
        failure.check(patience=2.0)
        raise
    return tensor


def device_of(parameters: Iterable[Tensor]) -> torch.device:
    """Where a module's weights are, those on the meta device aside."""
    return next((p.device for p in parameters if not p.is_meta), torch.device("cpu"))
