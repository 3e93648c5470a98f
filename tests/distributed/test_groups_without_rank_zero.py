"""Calls on some of the ranks, without global rank 0: ranks of a plan are ranks of the group, whatever their numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from support import tiny
from support.pipelines import PIPELINES
from support.staged import QUIET
from torch.distributed.device_mesh import init_device_mesh

import toolkit as tk
from toolkit.models.transformers.transformer_census import transformer

SCHEDULE = tk.Schedule.looped(2, branches=2, chunks=2)
DOUBLE = {"dtype": torch.float64}
"""For small convolutions in single precision, ``run`` and ``generate`` of a cluster choose different kernels."""


def in_group(function, vae, x, plans) -> list | None:
    group = dist.new_group([1, 2])
    if dist.get_rank() not in (1, 2):
        return None
    return [getattr(tk.distributed, function)(vae, x, plan, group) for plan in plans]


@pytest.mark.parametrize("function", ["decode", "encode"])
def test_tiles_shards_and_whole(cluster, function):
    vae = tiny.wan21()
    x = tiny.latent("wan21", 13, 9) if function == "decode" else torch.rand(1, 3, 5, 104, 72) * 2 - 1
    latent = (1, 4, 2, 13, 9) if function == "encode" else x.shape
    grid = tk.TileGrid.cover({"h": latent[-2], "w": latent[-1]}, tile=8, overlap=2)
    plans = [tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 2)), tk.ShardPlan(h=2), None]
    _, first, second, *others = cluster.run(in_group, function, vae, x, plans)
    assert set(others) == {None}
    for plan, one, two in zip(plans, first, second, strict=True):
        assert two is None
        assert torch.equal(one, getattr(cluster, function)(vae, x, plan, progress=False).output)


def on_mesh(vae, latent, plan) -> torch.Tensor | None:
    """Ranks 0 to 3 make the call twice at once: each line of the mesh, the second without rank 0, by itself."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "shards"))
    if mesh.get_coordinate() is None:
        return None
    seed = mesh.get_local_rank("data")
    return tk.distributed.decode(vae, latent + seed, plan, mesh.get_group("shards"))


def test_an_axis_of_a_mesh(cluster):
    vae, latent, plan = tiny.kl(), tiny.latent("kl", 12, 10), tk.ShardPlan(h=2)
    outputs = cluster.run(on_mesh, vae, latent, plan)
    assert [output is not None for output in outputs] == [True, False, True, False, False]
    for seed, output in enumerate((outputs[0], outputs[2])):
        assert torch.equal(output, cluster.decode(vae, latent + seed, plan, progress=False).output)


def generated_in_group(folder: Path, plan) -> torch.Tensor | None:
    group = dist.new_group([3, 1])
    if dist.get_rank() not in (1, 3):
        return None
    pipe = tk.distributed.load(folder, plan, group, **DOUBLE)
    result = tk.distributed.generate(pipe, plan, group, **PIPELINES["wan"].call(3), return_dict=False)
    return None if result is None else result[0]


def test_a_pipeline_in_stages(cluster, tmp_path):
    wan = PIPELINES["wan"]
    folder = wan.save(tmp_path / "wan")
    plan = tk.StagePlan(tk.StageSplit.even(6, 4), SCHEDULE, encoders=1)
    outputs = cluster.run(generated_in_group, folder, plan)
    root = 3 if outputs[3] is not None else 1
    assert [rank for rank, output in enumerate(outputs) if output is not None] == [root]
    assert torch.equal(outputs[root], cluster.generate(folder, plan, load=DOUBLE, **QUIET, **wan.call(3)).output)


def staged_on_mesh(plan, how: str) -> bool | None:
    """Whether a rank gets the whole transformer's bits; each line of the mesh has inputs of its own."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "pp"))
    if mesh.get_coordinate() is None:
        return None
    model, inputs = transformer("Wan").build(), transformer("Wan").inputs(1 + mesh.get_local_rank("data"))
    line = mesh["pp"]
    further = {"mesh": (line, None), "group": (None, line.get_group()), "both": (line, line.get_group())}[how]
    twin = tk.distributed.stage(plan, model, *further)
    with torch.no_grad():
        same = torch.equal(twin(**inputs)[0] + 0, model(**inputs)[0])
    twin.close()
    return same


@pytest.mark.parametrize("how", ["mesh", "group", "both"])
def test_a_transformer_in_stages_on_an_axis_of_a_mesh(cluster, how):
    """Both lines of the mesh run at once. Given as a mesh, the second one's ranks were taken for ranks of the group."""
    plan = tk.StagePlan(tk.StageSplit.even(4, 4), SCHEDULE)
    assert cluster.run(staged_on_mesh, plan, how, timeout=60) == [True, True, True, True, None]
