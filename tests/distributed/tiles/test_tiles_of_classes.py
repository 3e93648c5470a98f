"""Tiles of several classes over real ranks, both directions: the class's own tiled result, for any number of ranks."""

from __future__ import annotations

import pytest
import torch

import toolkit as tk
from toolkit.models.autoencoders.census import CENSUS
from toolkit.models.autoencoders.small_tiles import with_small_tiles

QUIET = {"progress": False, "memory": False}


def code(cluster: tk.Cluster, direction: str, vae, x, plan=None, **more) -> torch.Tensor:
    return getattr(cluster, direction)(vae, x, plan, **QUIET, **more).output


def own_tiled(cluster: tk.Cluster, direction: str, vae, x, **more) -> torch.Tensor:
    vae.use_tiling = True
    try:
        return code(cluster, direction, vae, x, **more)
    finally:
        vae.use_tiling = False


def plan_of(grid: tk.TileGrid, ranks: int, blend: tk.Blend | None = None) -> tk.TilePlan:
    return tk.TilePlan(grid, blend or tk.Blend.diffusers(), tk.Assignment.balanced(grid, ranks))


@pytest.mark.parametrize("direction", ["decode", "encode"])
def test_hunyuan_video_15_on_one_to_five_ranks(cluster, direction):
    """Four tiles: on five ranks, one has none."""
    specimen = CENSUS["AutoencoderKLHunyuanVideo15"]
    vae = with_small_tiles(specimen)
    x = specimen.latent(5, 4) if direction == "decode" else specimen.sample(5, 4)
    expected = own_tiled(cluster, direction, vae, x)
    grid = tk.diffusers_grid(vae, (1, 4, 2, 5, 4), direction)
    assert len(grid) == 4
    for ranks in (1, 2, 3, 4, 5):
        assert torch.equal(code(cluster, direction, vae, x, plan_of(grid, ranks)), expected)


@pytest.mark.parametrize(
    ("name", "direction", "h", "w", "batch", "dtype"),
    [
        ("AutoencoderKL", "decode", 11, 7, 2, torch.bfloat16),
        ("AutoencoderKL", "encode", 7, 11, 2, torch.float32),
        ("AutoencoderDC_sana", "encode", 9, 5, 1, torch.bfloat16),
        ("AutoencoderKL_flux", "decode", 1, 13, 1, torch.float32),
        ("AutoencoderKLQwenImage", "encode", 5, 8, 2, torch.float32),
        ("AutoencoderKLWan_2.2", "encode", 11, 7, 1, torch.float32),
        ("AutoencoderKLCogVideoX", "decode", 7, 5, 1, torch.float32),
        ("AutoencoderKLLTXVideo_0.9.5", "decode", 5, 7, 1, torch.float32),
        ("AutoencoderVidTok_causal", "decode", 5, 4, 1, torch.float32),
    ],
)
def test_equal_to_the_class_itself_and_for_any_number_of_ranks(cluster, name, direction, h, w, batch, dtype):
    specimen = CENSUS[name]
    vae = with_small_tiles(specimen).to(dtype)
    x = (specimen.latent if direction == "decode" else specimen.sample)(h, w, batch=batch).to(dtype)
    arguments = specimen.call if direction == "decode" else {}
    expected = own_tiled(cluster, direction, vae, x, arguments=arguments)
    grid = tk.diffusers_grid(vae, (1, 1, *([specimen.frames[0]] if specimen.frames else []), h, w), direction)
    assert len(grid) > 1
    for ranks in (2, 5):
        output = code(cluster, direction, vae, x, plan_of(grid, ranks), arguments=arguments)
        assert output.dtype == expected.dtype == dtype
        assert torch.equal(output, expected)


@pytest.mark.parametrize("direction", ["decode", "encode"])
@pytest.mark.parametrize(("frames", "stride"), [(16, 12), (12, 4)])
def test_tiles_in_time_too(cluster, direction, frames, stride):
    """HunyuanVideo tiles time around space; with a stride of a third, three tiles meet and travel whole."""
    specimen = CENSUS["AutoencoderKLHunyuanVideo"]
    vae = with_small_tiles(specimen)
    vae.tile_sample_min_num_frames, vae.tile_sample_stride_num_frames = frames, stride
    x = specimen.latent(4, 5, frames=6) if direction == "decode" else specimen.sample(4, 5, frames=21)
    expected = own_tiled(cluster, direction, vae, x)
    grid = tk.diffusers_grid(vae, (1, 4, 6, 4, 5), direction)
    assert grid.axes == ("t", "h", "w")
    plan = plan_of(grid, 3)
    assert plan.finish == ("shares" if stride == 12 else "tiles")
    assert torch.equal(code(cluster, direction, vae, x, plan), expected)


@pytest.mark.parametrize("blend", [tk.Blend.linear(), tk.Blend.diffusers()], ids=repr)
def test_what_has_no_tiling_of_its_own_is_alike_on_every_number_of_ranks(cluster, blend):
    specimen = CENSUS["AutoencoderKLTemporalDecoder"]
    vae, latent = specimen.build(), specimen.latent(7, 5)
    grid = tk.TileGrid.cover({"h": 7, "w": 5}, tile=4, overlap=1)
    outputs = [
        code(cluster, "decode", vae, latent, plan_of(grid, ranks, blend), arguments=specimen.call) for ranks in (1, 4)
    ]
    assert torch.equal(*outputs)


def test_noise_comes_from_the_seed_on_any_rank(cluster):
    specimen = CENSUS["ConsistencyDecoderVAE"]
    vae, latent = specimen.build(), specimen.latent(5, 3)
    grid = tk.TileGrid.cover({"h": 5, "w": 3}, tile=3, overlap=1)
    one, two, other = (
        code(cluster, "decode", vae, latent, plan_of(grid, ranks, tk.Blend.linear()), seed=seed)
        for ranks, seed in ((1, 3), (2, 3), (2, 4))
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("direction", ["decode", "encode"])
def test_autocast_reaches_the_workers(cluster, direction):
    specimen = CENSUS["AutoencoderKL_flux"]
    vae = with_small_tiles(specimen)
    x = specimen.latent(7, 5) if direction == "decode" else specimen.sample(7, 5)
    grid = tk.diffusers_grid(vae, (1, 4, 7, 5), direction)
    plain = code(cluster, direction, vae, x, plan_of(grid, 3))
    with torch.autocast("cpu", torch.bfloat16):
        expected = own_tiled(cluster, direction, vae, x)
        for ranks in (1, 3):
            output = code(cluster, direction, vae, x, plan_of(grid, ranks))
            assert output.dtype == expected.dtype == torch.bfloat16
            assert torch.equal(output, expected)
    with torch.autocast("cpu", torch.bfloat16, enabled=False):
        assert torch.equal(code(cluster, direction, vae, x, plan_of(grid, 2)), plain)
