"""Pipelines in stages beside whole ones: plans, and functions that ranks run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

import toolkit as tk
from support.pipelines import PIPELINES
from toolkit.models.transformers.layers import layers_of
from toolkit.models.transformers.pipeline_parts import experts_of

QUIET: dict[str, Any] = {"progress": False, "memory": False}


def plans(pipe: Any, schedule: tk.Schedule, **more: Any) -> dict[str, tk.StagePlan]:
    """An even split of every transformer of a pipeline for a schedule."""
    layers = {name: len(layers_of(getattr(pipe, name))) for name in experts_of(pipe)}
    split = tk.StageSplit.even
    return {name: tk.StagePlan(split(count, schedule.depth), schedule, **more) for name, count in layers.items()}


def whole(name: str, seeds: Sequence[int], **more: Any) -> list[Tensor]:
    """What the pipeline itself gives, in this process."""
    pipe = PIPELINES[name].build()
    return [PIPELINES[name].run(pipe, seed, **more) for seed in seeds]


def same(ours: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Whether all are equal bit by bit."""
    assert len(ours) == len(expected)
    return all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))


def generated(
    cluster: tk.Cluster, name: str, plan: tk.StagePlan | Mapping[str, tk.StagePlan], seed: int, **more: Any
) -> Tensor:
    """What the pipeline gives in stages."""
    tiny = PIPELINES[name]
    output: Tensor = cluster.generate(tiny.build(), plan, **QUIET, **tiny.call(seed)).output
    return output
