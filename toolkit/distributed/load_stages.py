"""Loading: the part of a pipeline's folder that one rank of a plan needs."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

import torch
from torch import nn
from torch.distributed import ProcessGroup

from toolkit.distributed.comm.group import Member
from toolkit.distributed.generating import plans_of
from toolkit.distributed.stages.assembly import modules_on, transformers_on
from toolkit.distributed.stages.hybrid import cut
from toolkit.errors import PlanError
from toolkit.geometry.stage_plan import Plans, StagePlan
from toolkit.models.transformers.pipeline_parts import modules_of
from toolkit.models.transformers.stage_pipeline import load_pipeline, load_whole, placed, quiet


def load(
    folder: str | PathLike[str],
    plan: StagePlan | Plans | None,
    group: ProcessGroup | None = None,
    *,
    device: torch.device | str = "cpu",
    **kwargs: Any,
) -> Any:
    """Load this rank's part of a pipeline: its own layers, and the other modules that the plan puts on this rank.

    Args:
        folder: The folder of a pipeline, as ``save_pretrained`` writes it.
        plan: How the pipeline's transformers are split over the ranks; None: load all of it.
        group: The group that the plan's ranks belong to; None: the default group.
        device: The device that the weights go to.
        **kwargs: Arguments of the pipeline's ``from_pretrained``, such as ``dtype``.

    Returns:
        The pipeline, of its own class, for :func:`~toolkit.distributed.generate` with the same plan.

    Raises:
        ModelError: If the folder does not hold a pipeline that can be split into stages.
        PlanError: On a rank that the plan has no part for.
    """
    with quiet():
        pipe = (
            load_whole(fspath(folder), **kwargs)
            if plan is None
            else _part(fspath(folder), plan, group=group, kwargs=kwargs)
        )
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            placed(part, torch.device(device))
    return pipe


def _part(folder: str, plan: StagePlan | Plans, *, group: ProcessGroup | None, kwargs: Mapping[str, Any]) -> Any:
    rank, plans = Member.of(group).rank, plans_of(folder, plan)
    one = next(iter(plans.values()))
    if rank >= one.ranks:
        raise PlanError(f"rank {rank} has no part in a plan for {one.ranks} ranks: load on the plan's ranks only.")
    spans = {name: plans[name].layers_of(rank) for name in transformers_on(rank, plans)}
    pipe = load_pipeline(folder, spans, with_modules=modules_on(rank, one, names=modules_of(folder)), **kwargs)
    # Tensor parallelism: keep only this rank's slice of each weight.
    for name in spans:
        setattr(pipe, name, cut(getattr(pipe, name), plans[name], rank))
    return pipe
