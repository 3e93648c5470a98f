"""Statistics of all tiles: those of the whole at the first norm, at every norm after as many passes, none lost."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn

import toolkit as tk
from toolkit.models.autoencoders.borrowed import borrowed
from toolkit.models.autoencoders.census import DOWN, UP, specimen
from toolkit.models.autoencoders.global_norm import NormedCoder, global_statistics, merge_statistics, tile_statistics
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.receptive import receptive_field
from toolkit.models.autoencoders.tile_coder import TileCoder
from toolkit.numerics.window import window_merge

CLASSES = [
    "AutoencoderKL",
    "AutoencoderKLHunyuanImage",
    "AutoencoderKLKVAE",
    "VQModel_spatialnorm",
    "AutoencoderKLHunyuanVideo",
    "AutoencoderKLCogVideoX",
    "AutoencoderKLMochi",
    "AutoencoderKLMagvit",
    "AutoencoderKLTemporalDecoder",
    "AutoencoderKLKVAEVideo",
]


def convolutional() -> AutoencoderKL:
    """2x, no attention: all that a tile lacks is statistics and its halo."""
    blocks = {"down_block_types": (DOWN,) * 2, "up_block_types": (UP,) * 2, "block_out_channels": (8, 16)}
    torch.manual_seed(0)
    vae = AutoencoderKL(**blocks, layers_per_block=1, norm_num_groups=4, mid_block_add_attention=False)
    return vae.eval().requires_grad_(False)


def in_tiles(coder: TileCoder, x: torch.Tensor, passes: int) -> torch.Tensor:
    canvas = coder.canvas()
    with borrowed(coder.vae):
        normed = NormedCoder.over(coder, global_statistics(coder, x, passes=passes)) if passes else coder
        raw = (normed(x, tile) for tile in coder.grid.tiles)
        window_merge(raw, coder.grid, boxes=coder.boxes, ramp="crop", canvas=coder.raw_view(canvas))
        coder.finish(canvas)
    return canvas


@pytest.mark.parametrize("axes", ["hw", "w"])
@pytest.mark.parametrize("direction", ["decode", "encode"])
def test_with_halos_and_a_pass_for_each_norm_tiles_are_the_whole(direction, axes):
    vae, model, call = convolutional(), specimen("AutoencoderKL"), ModelCall(direction)
    x = model.latent(33, 29) if direction == "decode" else model.latent(66, 58)[:, :3]
    with torch.no_grad():
        whole = call(vae, x)
    halo = receptive_field(vae, direction).h.widest
    grid = tk.TileGrid.cover({axis: {"h": 33, "w": 29}[axis] for axis in axes}, tile=2 * halo + 4, overlap=2 * halo)
    coder = TileCoder.of(vae, tuple(x.shape), grid, call)
    norms = sum(isinstance(module, nn.GroupNorm) for module in getattr(vae, f"{direction}r").modules())
    alone, together = (in_tiles(coder, x, passes) - whole for passes in (0, norms))
    assert len(grid) > 1
    assert alone.abs().max() > 0.05 * whole.abs().max()
    assert together.abs().max() < 2e-5 * whole.abs().max()


@pytest.mark.parametrize("name", CLASSES)
def test_the_first_norm_sees_the_whole_map(name):
    """Its input depends on a few cells only, which every tile has around its core."""
    model = specimen(name)
    vae, x, call = model.build(), model.latent(11, 9), ModelCall("decode", tk.Options(arguments=model.call))

    def merged(tile: int):
        grid = tk.TileGrid.cover({"h": 11, "w": 9}, tile=tile, overlap=4)
        with borrowed(vae):
            return global_statistics(TileCoder.of(vae, tuple(x.shape), grid, call), x)

    tiles, whole = merged(7), merged(11)
    assert [norm.count for norm in tiles] == [norm.count for norm in whole]
    torch.testing.assert_close(tiles[0].mean, whole[0].mean)
    torch.testing.assert_close(tiles[0].variance, whole[0].variance)


def test_the_order_of_tiles_decides_not_who_computed_them():
    model = specimen("AutoencoderKL")
    vae, x = model.build(), model.latent(11, 9)
    coder = TileCoder.of(vae, tuple(x.shape), tk.TileGrid.cover({"h": 11, "w": 9}, tile=6, overlap=2))
    with borrowed(vae):
        parts = {tile.index: tile_statistics(coder, x, tile=tile) for tile in reversed(coder.grid.tiles)}
        expected = global_statistics(coder, x)
    assert all(torch.equal(a.packed(), b.packed()) for a, b in zip(merge_statistics(parts), expected, strict=True))


def test_colours_of_the_demo_model_stay():
    vae, latent = tk.demo.image_vae(), tk.demo.latents("image", tk.demo.image(size=(256, 256)))
    with torch.no_grad():
        whole = vae.decode(latent).sample
    grid = tk.TileGrid.cover({"h": 32, "w": 32}, tile=16, overlap=4)
    coder = TileCoder.of(vae, tuple(latent.shape), grid)
    alone, together = (tk.compare(in_tiles(coder, latent, passes), whole, grid) for passes in (0, 1))
    assert together.psnr > alone.psnr + 5
    assert together.colour_shift < alone.colour_shift / 2


def test_what_has_no_statistics_is_refused():
    wan = specimen("AutoencoderKLWan_2.1")
    grid = tk.TileGrid.cover({"h": 6, "w": 6}, tile=4, overlap=2)
    x = wan.latent(6, 6)
    coder = TileCoder.of(wan.build(), tuple(x.shape), grid)
    with borrowed(coder.vae), pytest.raises(tk.ModelError, match="calls no GroupNorm"):
        global_statistics(coder, x)
    with pytest.raises(tk.PlanError, match="passes=0"):
        global_statistics(coder, x, passes=0)
