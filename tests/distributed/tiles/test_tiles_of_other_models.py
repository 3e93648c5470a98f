"""Models that do not come from a diffusers class of their own name: a single file, and a module of the user's."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import nn

import toolkit as tk
from toolkit.models.autoencoders.census import CENSUS
from toolkit.models.autoencoders.recipe import Recipe
from toolkit.models.autoencoders.small_tiles import with_small_tiles

FLUX = CENSUS["AutoencoderKL_flux"]
QUIET = {"progress": False, "memory": False}
RENAMED = [
    (".resnets.", ".block."),
    ("conv_shortcut", "nin_shortcut"),
    ("downsamplers.0", "downsample"),
    ("upsamplers.0", "upsample"),
    ("mid_block.attentions.0", "mid.attn_1"),
    ("group_norm", "norm"),
    ("to_q", "q"),
    ("to_k", "k"),
    ("to_v", "v"),
    ("to_out.0", "proj_out"),
    ("mid_block.block.0", "mid.block_1"),
    ("mid_block.block.1", "mid.block_2"),
    ("conv_norm_out", "norm_out"),
    ("down_blocks", "down"),
]


def as_published(vae: AutoencoderKL) -> dict[str, torch.Tensor]:
    """The weights under the keys of FLUX's own ``ae.safetensors``: up blocks counted from the end, 1x1 attention."""
    last = len(vae.decoder.up_blocks) - 1
    weights = {}
    for key, value in vae.state_dict().items():
        if "attentions" in key and key.endswith("weight") and value.ndim == 2:
            value = value[..., None, None]
        for ours, theirs in RENAMED:
            key = key.replace(ours, theirs)
        if "up_blocks" in key:
            before, number, after = key.replace("up_blocks", "up").split(".", 3)[1:]
            key = f"decoder.{before}.{last - int(number)}.{after}"
        weights[key] = value.clone().contiguous()
    return weights


@pytest.fixture(scope="module")
def from_file(tmp_path_factory) -> AutoencoderKL:
    """FLUX's autoencoder in small, read from one file in the layout of its makers."""
    folder = tmp_path_factory.mktemp("flux")
    vae = FLUX.build()
    save_file(as_published(vae), folder / "ae.safetensors")
    (folder / "config.json").write_text(json.dumps({**vae.config}))
    read = AutoencoderKL.from_single_file(str(folder / "ae.safetensors"), config=str(folder), local_files_only=True)
    assert all(torch.equal(value, read.state_dict()[key]) for key, value in vae.state_dict().items())
    read.tile_sample_min_size, read.tile_latent_min_size = 16, 4
    return read.eval()


@pytest.mark.parametrize("cast", [False, True])
@pytest.mark.parametrize("direction", ["decode", "encode"])
def test_flux_from_a_single_file(cluster, from_file, direction, cast):
    code = getattr(cluster, direction)
    x = FLUX.latent(7, 9) if direction == "decode" else FLUX.sample(7, 9)
    grid = tk.diffusers_grid(from_file, (1, 4, 7, 9), direction)
    with torch.autocast("cpu", torch.bfloat16, enabled=cast):
        from_file.enable_tiling()
        expected = code(from_file, x, **QUIET).output
        from_file.disable_tiling()
        for ranks in (1, 4):
            plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.balanced(grid, ranks))
            output = code(from_file, x, plan, **QUIET).output
            assert output.dtype == (torch.bfloat16 if cast else torch.float32)
            assert torch.equal(output, expected)


class Unscaling(nn.Module):
    """An autoencoder in BAGEL's manner: it scales its latents itself, and gives them without a posterior."""

    def __init__(self) -> None:
        super().__init__()
        vae = FLUX.build()
        self.encoder, self.decoder = vae.encoder, vae.decoder
        self.scale, self.shift = 0.3611, 0.1159
        self.config = SimpleNamespace(latent_channels=4, out_channels=3, block_out_channels=(8, 8, 16))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        mean, _ = self.encoder(x).chunk(2, dim=1)
        return self.scale * (mean - self.shift)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return self.decoder(z / self.scale + self.shift)


def unscaled(vae: Unscaling, latent: torch.Tensor, arguments: dict) -> torch.Tensor:
    return vae.decoder(latent / vae.scale + vae.shift)


OWN = Recipe(reason="encode gives scaled latents", decode=unscaled, moments=1, mirrors=(), unlike="it has no tiling")


@pytest.mark.parametrize("direction", ["decode", "encode"])
def test_a_module_of_ones_own_with_a_recipe(cluster, direction):
    vae = Unscaling().eval().requires_grad_(False)
    code = getattr(cluster, direction)
    x = FLUX.latent(7, 9) if direction == "decode" else FLUX.sample(7, 9)
    grid = tk.TileGrid.cover({"h": 7, "w": 9}, tile=4, overlap=2)
    plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.balanced(grid, 3))
    with pytest.raises(tk.ModelError, match="give a Recipe"):
        code(vae, x, plan, **QUIET)
    output = code(vae, x, plan, recipe=OWN, **QUIET).output
    whole = code(vae, x, **QUIET).output
    assert output.shape == whole.shape
    # The same weights inside a class whose tiles are known: scaled before, or after.
    known = with_small_tiles(FLUX)
    inner = code(known, x / vae.scale + vae.shift if direction == "decode" else x, plan, **QUIET).output
    if direction == "encode":
        # Blends of scaled tiles and scaled blends of tiles differ by rounding only.
        torch.testing.assert_close(output, vae.scale * (inner.chunk(2, dim=1)[0] - vae.shift), rtol=0, atol=1e-6)
    else:
        assert torch.equal(output, inner)
    assert "use_tiling" not in vars(vae)


def test_a_recipe_that_does_not_fit_is_found_out(cluster):
    vae = Unscaling().eval().requires_grad_(False)
    grid = tk.TileGrid.cover({"h": 6, "w": 6}, tile=4, overlap=2)
    plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 2))
    with pytest.raises(tk.RunError, match=r"\(1, 4, 4, 4\).*\(1, 8, 4, 4\) was expected"):
        cluster.encode(vae, FLUX.sample(6, 6), plan, recipe=Recipe(mirrors=()), **QUIET)
