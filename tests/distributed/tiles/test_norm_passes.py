"""Statistics of all tiles over real ranks: the same bits for every number of ranks."""

from __future__ import annotations

import pytest
import torch
from support import tiny

import toolkit as tk
from toolkit.models.autoencoders.census import specimen

ASSIGNMENTS = [
    lambda grid: tk.Assignment.balanced(grid, 2),
    lambda grid: tk.Assignment.contiguous(grid, 3),
    lambda grid: tk.Assignment(tuple(1 + 3 * (i % 2) for i in range(len(grid))), 5),  # the root has no tile
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("blend", [tk.Blend.linear(), tk.Blend.diffusers()])
def test_equal_bits_for_every_number_of_ranks(cluster, blend, dtype):
    vae, latent = tiny.kl().to(dtype), tiny.latent("kl", 11, 14, batch=2, dtype=dtype)
    grid = tk.TileGrid.cover({"h": 11, "w": 14}, tile=8, overlap=2)
    options = {"norm_passes": 2, "progress": False, "memory": False}
    alone = tk.TilePlan(grid, blend, tk.Assignment.balanced(grid, 1))
    expected = tk.distributed.decode(vae, latent, alone, norm_passes=2)
    assert not torch.equal(expected, tk.distributed.decode(vae, latent, alone, norm_passes=1))
    for assign in ASSIGNMENTS:
        run = cluster.decode(vae, latent, tk.TilePlan(grid, blend, assign(grid)), **options)
        assert torch.equal(run.output, expected)
        assert (run.trace["kind"] == "norms").sum() > len(grid)


def test_encode_and_videos(cluster):
    for name, direction in (("AutoencoderKL", "encode"), ("AutoencoderKLHunyuanVideo", "decode")):
        model = specimen(name)
        x = (model.latent if direction == "decode" else model.sample)(9, 7)
        grid = tk.TileGrid.cover({"h": 9, "w": 7}, tile=6, overlap=2)
        one, three = (tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, ranks)) for ranks in (1, 3))
        vae, options = model.build(), {"norm_passes": 1, "progress": False}
        expected = getattr(tk.distributed, direction)(vae, x, one, norm_passes=1)
        assert torch.equal(getattr(cluster, direction)(vae, x, three, **options).output, expected)


def test_a_grid_of_one_tile_is_the_whole(cluster):
    vae, latent = tiny.kl(), tiny.latent("kl", 6, 6)
    grid = tk.TileGrid.cover({"h": 6, "w": 6}, tile=8)
    run = cluster.decode(vae, latent, tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment((1,), 2)), norm_passes=1)
    assert torch.allclose(run.output, vae.decode(latent).sample, atol=1e-5)


def test_what_has_no_meaning_is_refused_before_anything_runs(cluster):
    vae, latent = tiny.kl(), tiny.latent("kl", 9, 9)
    grid = tk.TileGrid.cover({"h": 9, "w": 9}, tile=8, overlap=2)
    tiles = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 1))
    for decode in (cluster.decode, tk.distributed.decode):
        with pytest.raises(tk.PlanError, match=r"norm_passes=1 with the model's own call"):
            decode(vae, latent, norm_passes=1)
        with pytest.raises(tk.PlanError, match=r"norm_passes=-1"):
            decode(vae, latent, tiles, norm_passes=-1)
    with pytest.raises(tk.PlanError, match=r"norm_passes=1 with a ShardPlan"):
        cluster.decode(vae, latent, tk.ShardPlan(h=2), norm_passes=1)


def test_a_model_without_group_norm_fails_on_every_rank(cluster):
    vae, latent = tiny.wan21(), tiny.latent("wan21", 9, 9)
    grid = tk.TileGrid.cover({"h": 9, "w": 9}, tile=8, overlap=2)
    plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 2))
    with pytest.raises(tk.RankFailed, match="calls no GroupNorm"):
        cluster.decode(vae, latent, plan, norm_passes=1, progress=False)
