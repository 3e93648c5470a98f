"""Reading tilings: the grid is the one that the class's own ``tiled_decode`` walks."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL
from support import tiny

import toolkit as tk
from toolkit.models.autoencoders.census import specimen
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.tile_coder import TileCoder
from toolkit.models.autoencoders.tiling import read_tiling


class Counted(torch.nn.Module):
    """A decoder that notes the sizes of what it is given, and returns zeros."""

    def __init__(self, ratio: int) -> None:
        super().__init__()
        self.ratio, self.seen = ratio, []

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(latent.shape[-2:]))
        return torch.zeros(len(latent), 3, *(size * self.ratio for size in latent.shape[-2:]))


@pytest.mark.parametrize("h", [7, 8, 9, 12, 13, 23])
@pytest.mark.parametrize("w", [5, 8, 17])
def test_grid_is_what_decode_walks(h, w):
    vae = tiny.kl()
    vae.decoder = Counted(ratio=2)
    vae.enable_tiling()
    vae.decode(torch.zeros(1, 4, h, w))
    grid = tk.diffusers_grid(vae, (1, 4, h, w))
    assert [tuple(map(len, tile.box)) for tile in grid.tiles] == vae.decoder.seen


@pytest.mark.parametrize(
    ("shape", "tiles"), [((1, 16, 21, 60, 104), 15), ((1, 16, 1, 128, 128), 36), ((1, 16, 1, 32, 32), 1)]
)
def test_wan_at_its_defaults(shape, tiles):
    vae = tiny.wan21()
    vae.enable_tiling(256, 256, 192, 192)
    assert len(tk.diffusers_grid(vae, shape)) == tiles


def test_patches_do_not_change_latent_units():
    tiling = read_tiling(tiny.wan22())
    assert (tiling["h"].tile, tiling["h"].stride) == (4, 3)


def test_rectangular_tiles():
    vae = tiny.wan21()
    vae.enable_tiling(64, 96, 48, 64)
    grid = tk.diffusers_grid(vae, (1, 4, 1, 20, 30))
    assert grid == tk.TileGrid.strided({"h": 20, "w": 30}, tile={"h": 8, "w": 12}, stride={"h": 6, "w": 8})


def test_a_tile_that_falls_between_cells_is_refused():
    """diffusers would return another size than the sample's: 212 pixels instead of 200."""
    vae = tiny.kl()
    vae.tile_latent_min_size, vae.tile_sample_min_size = 10, 20
    with pytest.raises(tk.PlanError, match="stride 7, but by 20 pixels with stride 15, at 2 pixels per cell"):
        tk.diffusers_grid(vae, (1, 4, 25, 25))


def test_wan22_measures_tiles_of_encode_in_patches():
    tiling = read_tiling(tiny.wan22(), "encode")
    assert (tiling["h"].tile, tiling["h"].stride, tiling["h"].threshold) == (8, 6, 4)


def test_a_wrong_size_is_refused_in_encode_too():
    vae = tiny.kl()
    vae.tile_latent_min_size, vae.tile_sample_min_size = 10, 20
    with pytest.raises(tk.PlanError, match="tiled encode returns another size than the latent's"):
        tk.diffusers_grid(vae, (1, 4, 25, 25), "encode")


def test_half_a_setting_is_refused():
    """Given sample sizes only, HunyuanVideo-1.5 keeps the latent sizes that it had, and returns another size."""
    vae = specimen("AutoencoderKLHunyuanVideo15").build()
    vae.enable_tiling(tile_sample_min_height=64, tile_sample_min_width=64)
    with pytest.raises(tk.PlanError, match="16 latent cells with stride 12, but by 64 pixels with stride 48"):
        tk.diffusers_grid(vae, (1, 4, 2, 25, 25))


def test_samples_of_no_whole_cells_are_refused():
    vae = tiny.wan22()
    with pytest.raises(tk.PlanError, match=r"a sample of 65 x 64 pixels.*multiples of 16"):
        TileCoder.of(vae, (1, 3, 5, 65, 64), tk.TileGrid.cover({"h": 4, "w": 4}, tile=4), ModelCall("encode"))


def test_a_large_sample_size_means_no_tiles():
    vae = AutoencoderKL(block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
                        up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=4, sample_size=1024)  # fmt: skip
    assert len(tk.diffusers_grid(vae, (1, 4, 128, 128))) == 1


def test_unknown_models_are_refused():
    with pytest.raises(tk.ModelError, match="Linear"):
        tk.diffusers_grid(torch.nn.Linear(1, 1), (1, 4, 8, 8))
    with pytest.raises(tk.PlanError, match="b c h w"):
        tk.diffusers_grid(tiny.kl(), (4, 8, 8))
