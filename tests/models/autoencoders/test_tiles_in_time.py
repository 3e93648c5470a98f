"""Grids with an axis of time: boxes of latents are causal boxes of frames."""

from __future__ import annotations

import pytest
import torch

import toolkit as tk
from toolkit.models.autoencoders.borrowed import borrowed
from toolkit.models.autoencoders.census import CENSUS
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.small_tiles import with_small_tiles
from toolkit.models.autoencoders.tile_coder import TileCoder
from toolkit.models.autoencoders.tiling import diffusers_grid

TIMED = ["AutoencoderKLHunyuanVideo", "AutoencoderKLLTXVideo_0.9.0", "AutoencoderKLLTX2Video"]
LATENTS = 6


def timed(name: str, tile: int = 4, stride: int = 2):
    """A specimen that tiles in time too, by so many latent frames."""
    vae = with_small_tiles(CENSUS[name])
    ratio = vae.temporal_compression_ratio
    vae.tile_sample_min_num_frames, vae.tile_sample_stride_num_frames = tile * ratio, stride * ratio
    vae.use_framewise_decoding = vae.use_framewise_encoding = True
    return vae


def given(name: str, direction: str, h: int, w: int) -> torch.Tensor:
    specimen = CENSUS[name]
    if direction == "decode":
        return specimen.latent(h, w, frames=LATENTS)
    return specimen.sample(h, w, frames=(LATENTS - 1) * (4 if "Hunyuan" in name else 8) + 1)


def in_tiles(vae, x, direction: str, grid: tk.TileGrid, blend: tk.Blend) -> torch.Tensor:
    plan = tk.TilePlan(grid, blend, tk.Assignment.balanced(grid, 1))
    return getattr(tk.distributed, direction)(vae, x, plan, convolutions="aten")


@pytest.mark.parametrize("stride", [2, 1, 4])
@pytest.mark.parametrize("direction", ["decode", "encode"])
@pytest.mark.parametrize("name", TIMED)
def test_equal_to_the_class_itself(name, direction, stride):
    """HunyuanVideo both ways. LTX drops the wrong frame of each later tile when it decodes: there tiles are nearer."""
    vae, x = timed(name, stride=stride), given(name, direction, 5, 3)
    grid = diffusers_grid(vae, (1, 4, LATENTS, 5, 3), direction)
    output = in_tiles(vae, x, direction, grid, tk.Blend.diffusers())
    vae.use_tiling = True
    with torch.no_grad():
        own = ModelCall(direction)(vae, x)
    assert grid.axes[0] == "t"
    if direction == "encode" or "Hunyuan" in name:
        assert torch.equal(output, own)
        return
    vae.use_tiling = vae.use_framewise_decoding = False
    with torch.no_grad():
        whole = ModelCall(direction)(vae, x)
    assert (output - whole).abs().mean() < (own - whole).abs().mean()


@pytest.mark.parametrize("direction", ["decode", "encode"])
@pytest.mark.parametrize("name", TIMED)
def test_a_tile_is_what_the_model_makes_of_it_less_its_first_frame(name, direction):
    vae, x = timed(name), given(name, direction, 2, 2)
    grid = tk.TileGrid.cover({"t": LATENTS, "h": 2, "w": 2}, tile=4, overlap=2)
    assert grid.rows[0] == (tk.TileGrid.cover({"t": 6}, tile=4, overlap=2).rows[0])
    output = in_tiles(vae, x, direction, grid, tk.Blend.crop())
    ratio = vae.temporal_compression_ratio
    decode = direction == "decode"
    vae.use_framewise_decoding = vae.use_framewise_encoding = False
    early = x[:, :, :4] if decode else x[:, :, : 3 * ratio + 1]
    late = x[:, :, 1:] if decode else x[:, :, ratio:]  # latents 2:6, with the one before them
    with torch.no_grad():
        early, late = ModelCall(direction)(vae, early), ModelCall(direction)(vae, late)[:, :, 1:]
    half = 2 * ratio + 1 if decode else 3  # the overlap, latents 2:4, is cut before latent 3
    assert torch.equal(output[:, :, :half], early[:, :, :half])
    assert torch.equal(output[:, :, half:], late[:, :, -(output.shape[2] - half) :])


def test_grids_of_the_class_itself():
    vae = timed("AutoencoderKLHunyuanVideo", tile=4, stride=3)
    grid = tk.diffusers_grid(vae, (1, 4, 11, 2, 2))
    assert [(span.start, span.stop) for span in grid.rows[0]] == [(0, 5), (4, 8), (7, 11), (10, 11)]
    assert tk.diffusers_grid(vae, (1, 4, 4, 2, 2)).axes == ("h", "w")
    vae.use_framewise_decoding = False
    assert tk.diffusers_grid(vae, (1, 4, 11, 2, 2)).axes == ("h", "w")
    vae.use_framewise_decoding, vae.tile_sample_stride_num_frames = True, 10
    with pytest.raises(tk.PlanError, match="multiples of its ratio 4"):
        tk.diffusers_grid(vae, (1, 4, 11, 2, 2))


def test_its_own_tiling_in_time_is_off_within_a_grid_of_time_only():
    vae = timed("AutoencoderKLHunyuanVideo")
    with borrowed(vae, tk.TileGrid.cover({"h": 2, "w": 2}, tile=2)):
        assert vae.use_framewise_decoding
    with borrowed(vae, tk.TileGrid.cover({"t": 2, "h": 2, "w": 2}, tile=2)):
        assert not vae.use_framewise_decoding
        assert not vae.use_framewise_encoding
    assert vae.use_framewise_decoding


def test_what_does_not_fit_is_refused():
    vae = timed("AutoencoderKLHunyuanVideo")
    grid = tk.TileGrid.cover({"t": 3, "h": 2, "w": 2}, tile=2, overlap=1)
    with pytest.raises(tk.PlanError, match=r"11 frames with a grid along t.*groups of 4"):
        TileCoder.of(vae, (1, 3, 11, 16, 16), grid, ModelCall("encode"))
    with pytest.raises(tk.PlanError, match="along h and w only"):
        TileCoder.of(CENSUS["AutoencoderKLWan_2.1"].build(), (1, 4, 3, 2, 2), grid)
