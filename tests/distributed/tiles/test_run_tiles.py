"""Tiles over real ranks: bit for bit what the model's own tiled decode gives on a worker."""

from __future__ import annotations

import pytest
import torch
from support import tiny

import toolkit as tk

SIZES = {"kl": [(23, 17), (8, 13), (31, 7)], "wan21": [(13, 19), (9, 8)], "wan22": [(7, 11), (5, 3)]}
CASES = [(name, size, torch.float32) for name, sizes in SIZES.items() for size in sizes]
# Small ones, because processors without instructions for it take long in bfloat16.
CASES += [("kl", (8, 13), torch.bfloat16), ("wan21", (9, 8), torch.bfloat16), ("wan22", (5, 3), torch.bfloat16)]


def own_tiled(cluster: tk.Cluster, vae, latent) -> torch.Tensor:
    vae.enable_tiling()
    try:
        return cluster.decode(vae, latent, progress=False, memory=False).output
    finally:
        vae.disable_tiling()


@pytest.mark.parametrize(("name", "size", "dtype"), CASES)
def test_equal_to_diffusers_for_every_number_of_ranks(cluster, name, size, dtype):
    vae = tiny.MODELS[name]().to(dtype)
    latent = tiny.latent(name, *size, batch=2 if name == "kl" else 1, dtype=dtype)
    expected = own_tiled(cluster, vae, latent)
    grid = tk.diffusers_grid(vae, latent.shape)
    for ranks in (1, 2, 3, 5):
        plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.balanced(grid, ranks))
        run = cluster.decode(vae, latent, plan, progress=False, memory=False)
        assert run.output.dtype == dtype
        assert torch.equal(run.output, expected), (ranks, (run.output - expected).abs().max())


ASSIGNMENTS = {
    "contiguous": lambda grid: tk.Assignment.contiguous(grid, 3),
    "round robin": lambda grid: tk.Assignment.round_robin(grid, 5),
    "backwards": lambda grid: tk.Assignment(tuple(2 - i % 3 for i in range(len(grid))), 3),
    "last rank first": lambda grid: tk.Assignment(tuple(int(i < len(grid) // 2) for i in range(len(grid))), 2),
    "with idle ranks": lambda grid: tk.Assignment(tuple(1 + 2 * (i % 2) for i in range(len(grid))), 5),
}


@pytest.mark.parametrize("root", [0, 1])
@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_neither_assignment_nor_root_changes_a_bit(cluster, name, root):
    vae, latent = tiny.wan21(), tiny.latent("wan21", 13, 19)
    grid = tk.diffusers_grid(vae, latent.shape)
    assignment = ASSIGNMENTS[name](grid)
    for blend in (tk.Blend.diffusers(), tk.Blend.cosine()):
        alone = tk.TilePlan(grid, blend, tk.Assignment.balanced(grid, 1))
        expected = cluster.decode(vae, latent, alone, progress=False, memory=False).output
        run = cluster.decode(vae, latent, tk.TilePlan(grid, blend, assignment, root), progress=False, memory=False)
        assert torch.equal(run.output, expected)


def test_more_ranks_than_tiles_and_one_tile_only(cluster):
    vae = tiny.wan22()
    for size, tiles in (((4, 5), 2), ((3, 4), 1)):
        latent = tiny.latent("wan22", *size)
        expected = own_tiled(cluster, vae, latent)
        grid = tk.diffusers_grid(vae, latent.shape)
        assert len(grid) <= 2 * tiles
        for owner in (0, 4):
            spread = tk.Assignment(tuple((owner + i) % 5 for i in range(len(grid))), 5)
            run = cluster.decode(vae, latent, tk.TilePlan(grid, tk.Blend.diffusers(), spread), progress=False)
            assert torch.equal(run.output, expected)
            assert set(run.trace["rank"]) == set(spread.owners) | {0}  # the others took part in nothing


@pytest.mark.parametrize("name", ["kl", "wan22"])
def test_where_three_tiles_meet_whole_tiles_travel(cluster, name):
    vae, latent = tiny.MODELS[name](), tiny.latent(name, 7, 9)
    if name == "kl":
        vae.tile_overlap_factor = 0.75
    else:
        vae.enable_tiling(64, 64, 16, 16)
        vae.disable_tiling()
    expected = own_tiled(cluster, vae, latent) if name == "wan22" else None
    grid = tk.TileGrid.strided({"h": 7, "w": 9}, tile=4, stride=1)
    assert grid == tk.diffusers_grid(vae, latent.shape) or name == "kl"
    outputs = []
    for ranks in (1, 3):
        plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.round_robin(grid, ranks))
        assert plan.finish == "tiles"
        outputs.append(cluster.decode(vae, latent, plan, progress=False, memory=False).output)
    assert torch.equal(*outputs)
    if expected is not None:
        assert torch.equal(outputs[0], expected)


def test_the_same_run_twice_gives_the_same_bits(cluster):
    vae, latent = tiny.kl(), tiny.latent("kl", 23, 17)
    grid = tk.TileGrid.cover({"h": 23, "w": 17}, tile=9, overlap=3)
    plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 3))
    one, two = (cluster.decode(vae, latent, plan, progress=False).output for _ in range(2))
    assert torch.equal(one, two)


@pytest.mark.parametrize("blend", [tk.Blend.linear(), tk.Blend.cosine(), tk.Blend.crop()], ids=repr)
def test_windows_of_a_model_that_sees_no_borders_are_exact(cluster, blend):
    """Nearest upsampling of single cells: every tile agrees with the whole, so any blend must return the whole."""
    vae, latent = tiny.wan21(), tiny.latent("wan21", 13, 11)
    for module in vae.decoder.modules():
        if isinstance(module, torch.nn.Conv3d | torch.nn.Conv2d):
            centre = torch.zeros_like(module.weight)
            middle = tuple(k // 2 for k in module.kernel_size)
            middle = (module.kernel_size[0] - 1, *middle[1:]) if len(middle) == 3 else middle
            centre[(..., *middle)] = module.weight[(..., *middle)]
            module.weight.data = centre
    for block in vae.decoder.mid_block.attentions:
        block.proj.weight.data.zero_()
    whole = cluster.decode(vae, latent, progress=False, memory=False).output
    grid = tk.TileGrid.cover({"h": 13, "w": 11}, tile=6, overlap=2)
    plan = tk.TilePlan(grid, blend, tk.Assignment.balanced(grid, 2))
    run = cluster.decode(vae, latent, plan, progress=False, memory=False)
    assert (run.output - whole).abs().max() < 2e-6


def test_a_plan_for_more_ranks_than_the_group_is_refused():
    vae, latent = tiny.kl(), tiny.latent("kl", 9, 9)
    grid = tk.diffusers_grid(vae, latent.shape)
    plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.balanced(grid, 2))
    with pytest.raises(tk.PlanError, match="2 ranks, the group has 1"):
        tk.distributed.decode(vae, latent, plan)
