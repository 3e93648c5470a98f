"""Every class that stages accept, on three processes: calls of changing shapes, several pending, equal bit by bit."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.distributed as dist
from torch.utils import _pytree as pytree

import toolkit as tk
from toolkit.models.transformers.layers import layers_of
from toolkit.models.transformers.transformer_census import TRANSFORMERS

REFUSED = {"HunyuanDiT"}
ACCEPTED = sorted(TRANSFORMERS.keys() - REFUSED)
SCALES = (1, 2, 1, 2)


def leaves(output) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, torch.Tensor)]


@pytest.fixture(scope="module")
def four():
    with tk.Cluster(ranks=4, device="cpu", start="forkserver") as cluster:
        yield cluster


@pytest.mark.parametrize("name", ACCEPTED)
def test_pending_calls_of_changing_shapes(four, name):
    specimen = TRANSFORMERS[name]
    layers = len(layers_of(specimen.build()))
    schedules = [tk.Schedule.looped(2, 2, chunks=min(2, layers // 2))] if layers < 4 else [
        tk.Schedule.interleaved(4, 2), tk.Schedule.looped(2, 2, chunks=2)
    ]  # fmt: skip

    def job(plan: tk.StagePlan) -> list[bool] | None:
        if dist.get_rank() >= plan.ranks:
            group = dist.new_group(list(range(plan.ranks)))
            return None
        group = dist.new_group(list(range(plan.ranks)))
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            whole = specimen.build()
            staged = tk.distributed.stage(plan, whole, group=group)
            outputs = [staged(**specimen.inputs(scale=scale, seed=i)) for i, scale in enumerate(SCALES)]
            expected = [whole(**specimen.inputs(scale=scale, seed=i)) for i, scale in enumerate(SCALES)]
            found = [
                all(torch.equal(a + 0, b) for a, b in zip(leaves(ours), leaves(theirs), strict=True))
                for ours, theirs in zip(outputs, expected, strict=True)
            ]
            staged.close()
        return found

    for schedule in schedules:
        plan = tk.StagePlan(tk.StageSplit.even(layers, schedule.depth), schedule)
        answers = four.run(job, plan, timeout=60)
        assert answers[: plan.ranks] == [[True] * len(SCALES)] * plan.ranks


def test_eighteen_classes_at_least():
    assert len({TRANSFORMERS[name].cls for name in ACCEPTED}) >= 18


def test_long_skips_are_refused(four):
    specimen = TRANSFORMERS["HunyuanDiT"]
    plan = tk.StagePlan(tk.StageSplit.even(4, 2), tk.Schedule.interleaved(2, 2))
    with pytest.raises(tk.RankFailed, match="HunyuanDiT2DModel cannot run in stages"):
        four.run(lambda: tk.distributed.stage(plan, specimen.build()))
