"""Tiles of every class of the census, in both directions, in one process."""

from __future__ import annotations

import pytest
import torch

import toolkit as tk
from toolkit.models.autoencoders.autoencoder_table import AUTOENCODER_ENTRIES, recipe_of
from toolkit.models.autoencoders.census import CENSUS, Specimen
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.recipe import BOTH
from toolkit.models.autoencoders.small_tiles import with_small_tiles
from toolkit.models.autoencoders.tile_coder import TileCoder
from toolkit.numerics.boxes import BoxLayout

RECIPES = {name: entry.tiles for name, entry in AUTOENCODER_ENTRIES.items() if entry.tiles is not None}
REFUSED = sorted(AUTOENCODER_ENTRIES.keys() - RECIPES.keys())
CASES = [(name, direction) for name in CENSUS for direction in BOTH]
MIRRORED = [(name, direction) for name, direction in CASES if direction in RECIPES[CENSUS[name].cls].mirrors]
NOISY = "AutoencoderKLLTXVideo_0.9.1"


def given(
    specimen: Specimen, direction: str, h: int, w: int, batch: int | None = None
) -> tuple[torch.Tensor, ModelCall]:
    """An input of ``h`` by ``w`` latent cells, and the call for it."""
    if direction == "decode":
        return specimen.latent(h, w, batch=batch), ModelCall("decode", tk.Options(arguments=specimen.call, seed=5))
    # VidTok's causal encoder takes chunks of at least 4 frames.
    frames = 8 if specimen.cls == "AutoencoderVidTok" else None
    return specimen.sample(h, w, frames=frames, batch=batch), ModelCall("encode", tk.Options(seed=5))


def in_tiles(vae, x: torch.Tensor, call: ModelCall, grid: tk.TileGrid, blend: tk.Blend) -> torch.Tensor:
    plan = tk.TilePlan(grid, blend, tk.Assignment.balanced(grid, 1))
    run = tk.distributed.decode if call.direction == "decode" else tk.distributed.encode
    return run(vae, x, plan, arguments=call.options.arguments, seed=call.options.seed, convolutions="aten")


@torch.no_grad()
def own(vae, x: torch.Tensor, call: ModelCall, tiling: bool) -> torch.Tensor:
    vae.use_tiling = tiling
    try:
        return call(vae, x)
    finally:
        vae.use_tiling = False


def latent_shape(x: torch.Tensor, specimen: Specimen, direction: str, h: int, w: int) -> tuple[int, ...]:
    return (len(x), 1, *([specimen.frames[0]] if specimen.frames else []), h, w)


@pytest.mark.parametrize(("name", "direction"), [case for case in MIRRORED if case != (NOISY, "decode")])
def test_equal_to_the_class_itself(name, direction):
    specimen = CENSUS[name]
    vae = with_small_tiles(specimen)
    x, call = given(specimen, direction, 8, 5)
    grid = tk.diffusers_grid(vae, latent_shape(x, specimen, direction, 8, 5), direction)
    assert len(grid) > 1
    expected = own(vae, x, call, tiling=True)
    assert torch.equal(in_tiles(vae, x, call, grid, tk.Blend.diffusers()), expected)
    assert not torch.equal(own(vae, x, call, tiling=False), expected)  # or nothing was shown


@pytest.mark.parametrize("direction", BOTH)
@pytest.mark.parametrize("name", ["AutoencoderKLWan_2.1", "AutoencoderKLCogVideoX", "AutoencoderDC"])
def test_rectangular_tiles_of_a_sliced_batch(name, direction):
    """A tile of 4 x 6 latent cells; slicing comes before tiling."""
    specimen = CENSUS[name]
    vae = with_small_tiles(specimen)
    vae.tile_sample_min_width = 6 * specimen.ratio
    if hasattr(vae, "tile_sample_stride_width"):
        vae.tile_sample_stride_width = 4 * specimen.ratio
    if hasattr(vae, "tile_latent_min_width"):
        vae.tile_latent_min_width = 6
    if hasattr(vae, "tile_overlap_factor_width"):
        vae.tile_overlap_factor_width = 1 / 3
    vae.enable_slicing()
    x, call = given(specimen, direction, 7, 11, batch=2)
    grid = tk.diffusers_grid(vae, latent_shape(x, specimen, direction, 7, 11), direction)
    assert grid == tk.TileGrid.strided({"h": 7, "w": 11}, tile={"h": 4, "w": 6}, stride={"h": 3, "w": 4})
    assert torch.equal(in_tiles(vae, x, call, grid, tk.Blend.diffusers()), own(vae, x, call, tiling=True))


def test_arguments_reach_every_tile():
    specimen = CENSUS["AutoencoderKLLTX2Video"]
    vae = with_small_tiles(specimen)
    x = specimen.latent(8, 5)
    grid = tk.diffusers_grid(vae, x.shape)
    causal, plain = ModelCall("decode", tk.Options(arguments={"causal": True})), ModelCall("decode")
    output = in_tiles(vae, x, causal, grid, tk.Blend.diffusers())
    assert torch.equal(output, own(vae, x, causal, tiling=True))
    assert not torch.equal(output, own(vae, x, plain, tiling=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"generator": torch.Generator()}, "give seed="), ({"mask": torch.zeros(1, 1, 24, 24)}, "cannot be divided")],
)
def test_arguments_that_tiles_cannot_share_are_refused(arguments, message):
    vae = CENSUS["AsymmetricAutoencoderKL"].build()
    grid = tk.TileGrid.cover({"h": 6, "w": 6}, tile=4, overlap=2)
    with pytest.raises(tk.PlanError, match=message):
        TileCoder.of(vae, (1, 4, 6, 6), grid, ModelCall("decode", tk.Options(arguments=arguments)))


@pytest.mark.parametrize(("name", "direction"), CASES)
def test_a_tile_is_what_the_model_makes_of_it(name, direction):
    """Cut at the middle of each overlap, the output is made of the model's own outputs for the tiles' inputs."""
    specimen = CENSUS[name]
    vae = with_small_tiles(specimen, tile=8, stride=8)
    x, call = given(specimen, direction, 6, 6)
    grid = tk.TileGrid.cover({"h": 6, "w": 6}, tile=4, overlap=2)
    output = in_tiles(vae, x, call, grid, tk.Blend.crop())
    ratio = specimen.ratio
    latent, sample = BoxLayout(grid.axes, (1, 1)), BoxLayout(grid.axes, (ratio, ratio))
    source, target = (latent, sample) if direction == "decode" else (sample, latent)
    chunked = specimen.cls == "AutoencoderVidTok"  # what goes through time in chunks is its tiling only
    for tile in grid.tiles:
        expected = own(vae, source.cut(x, tile.box), call, tiling=chunked)
        part = target.cut(output, tile.core_box)
        if specimen.cls == "AutoencoderKLQwenImage" and direction == "decode":
            part = part.clamp(-1, 1)  # its decode clamps, its tiles do not
        assert torch.equal(part, target.cut(expected, tile.core_box, tile.box))


@pytest.mark.parametrize(("name", "direction"), sorted(set(CASES) - set(MIRRORED)))
def test_no_equality_is_claimed_where_there_is_none(name, direction):
    specimen = CENSUS[name]
    vae = specimen.build()
    recipe = recipe_of(vae)
    with pytest.raises(tk.ModelError, match=r"to be equal to.*TileGrid\.cover"):
        tk.diffusers_grid(vae, (1, 4, 2, 8, 8), direction)
    assert recipe.unlike
    x, call = given(specimen, direction, 6, 6)
    grid = tk.TileGrid.cover({"h": 6, "w": 6}, tile=4, overlap=2)
    if recipe.other_blend:
        with pytest.raises(tk.ModelError, match=rf"Blend.diffusers.*{specimen.cls}"):
            TileCoder.of(vae, x.shape, grid, call, tk.Blend.diffusers())
    else:
        assert TileCoder.of(vae, x.shape, grid, call, tk.Blend.diffusers()).shape


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    with pytest.raises(tk.ModelError, match=f"{name} does not work in tiles"):
        recipe_of(type(name, (), {})())


def test_the_census_and_the_table_name_the_same_classes():
    assert {specimen.cls for specimen in CENSUS.values()} == set(RECIPES)
    for recipe in RECIPES.values():
        assert recipe.mirrors == BOTH or recipe.unlike


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    ("name", "direction"),
    [
        case for case in CASES if case != ("AutoencoderKLCosmos", "encode")
    ],  # torch has no avg_pool3d in bfloat16 for CPUs
)
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # MiniMaxH3, from torch
def test_shape_and_dtype_are_known_beforehand(name, direction, dtype):
    """In bfloat16, and in float32 under autocast: buffers are of the output's dtype, whatever the input's."""
    specimen = CENSUS[name]
    vae = specimen.build().to(dtype)
    x, call = given(specimen, direction, 3, 2)
    x = x.to(dtype)
    grid = tk.TileGrid.cover({"h": 3, "w": 2}, tile=8)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.float32):
        coder = TileCoder.of(vae, x.shape, grid, call)
        expected = own(vae, x, call, tiling=False)
    assert (coder.shape, coder.dtype) == (tuple(expected.shape), expected.dtype)
