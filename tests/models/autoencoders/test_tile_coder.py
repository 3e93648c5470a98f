"""The adapter: shapes before anything runs, raw tiles, and a model left as it was found."""

from __future__ import annotations

import copy

import pytest
import torch
from support import tiny

import toolkit as tk
from toolkit.models.autoencoders.autoencoder_table import AUTOENCODER_ENTRIES, recipe_of
from toolkit.models.autoencoders.borrowed import borrowed
from toolkit.models.autoencoders.tile_coder import TileCoder


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shapes_and_dtype_are_known_beforehand(name, dtype):
    vae = tiny.MODELS[name]().to(dtype)
    latent = tiny.latent(name, 11, 7, batch=2, frames=3, dtype=dtype)
    coder = TileCoder.of(vae, tuple(latent.shape), tk.diffusers_grid(vae, latent.shape))
    with borrowed(vae):
        sample = vae.decode(latent).sample
        assert (coder.shape, coder.dtype) == (tuple(sample.shape), sample.dtype)
        tile = coder.grid.tiles[1]
        raw = coder(latent, tile)
    assert tuple(raw.shape) == coder.raw_shape(tile.box)


def test_dtype_under_autocast_is_the_decoded_one():
    vae, latent = tiny.kl(), tiny.latent("kl", 11, 7)
    grid = tk.diffusers_grid(vae, latent.shape)
    with torch.autocast("cpu", torch.bfloat16):
        coder = TileCoder.of(vae, tuple(latent.shape), grid)
        with borrowed(vae):
            assert coder(latent, grid.tiles[0]).dtype == coder.dtype == torch.bfloat16


@pytest.mark.parametrize("name", tiny.MODELS)
def test_the_model_is_left_as_it_was_found(name):
    vae = tiny.MODELS[name]()
    vae.enable_tiling()
    vae.enable_slicing()
    latent = tiny.latent(name, 9, 9)
    vae.decode(latent)  # leaves caches of its own
    found = {key: copy.copy(value) for key, value in vars(vae).items()}
    weights = {key: value.clone() for key, value in vae.state_dict().items()}
    grid = tk.diffusers_grid(vae, latent.shape)
    plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.balanced(grid, 1))
    tk.distributed.decode(vae, latent, plan)
    with pytest.raises(ZeroDivisionError), borrowed(vae):  # noqa: PT012
        vae.clear_cache() if hasattr(vae, "clear_cache") else None
        vae._feat_map = ["half done"]
        raise ZeroDivisionError
    assert vars(vae).keys() == found.keys()
    assert all(vars(vae)[key] is value or vars(vae)[key] == value for key, value in found.items())
    assert all(torch.equal(weights[key], value) for key, value in vae.state_dict().items())


@pytest.mark.parametrize("name", tiny.MODELS)
def test_slicing_comes_before_tiling(name):
    vae = tiny.MODELS[name]()
    vae.enable_tiling()
    vae.enable_slicing()
    latent = tiny.latent(name, 11, 9, batch=2)
    with torch.no_grad():
        expected = vae.decode(latent).sample
    grid = tk.diffusers_grid(vae, latent.shape)
    plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.balanced(grid, 1))
    assert torch.equal(tk.distributed.decode(vae, latent, plan, convolutions="aten"), expected)


def test_what_does_not_fit_is_refused():
    vae = tiny.kl()
    grid = tk.TileGrid.cover({"h": 9, "w": 9}, tile=8, overlap=2)
    with pytest.raises(tk.PlanError, match=r"h=9, w=10"):
        TileCoder.of(vae, (1, 4, 9, 10), grid)
    with pytest.raises(tk.PlanError, match="b c h w"):
        TileCoder.of(vae, (1, 4, 2, 9, 9), grid)
    with pytest.raises(tk.PlanError, match="along h and w only"):
        TileCoder.of(vae, (1, 4, 9, 9), tk.TileGrid.cover({"t": 2, "h": 9, "w": 9}, tile=8))


def test_only_known_classes():
    class Stranger:
        pass

    with pytest.raises(tk.ModelError, match="Stranger"):
        recipe_of(Stranger())
    heir = type("Heir", (type(tiny.wan21()),), {})
    assert recipe_of(object.__new__(heir)) is AUTOENCODER_ENTRIES["AutoencoderKLWan"].tiles
