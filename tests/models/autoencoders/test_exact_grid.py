"""Exact grids: tiles that are cut are the whole, and classes for which no overlap is enough are refused."""

from __future__ import annotations

import pytest
import torch

import toolkit as tk
from toolkit.models.autoencoders.census import specimen
from toolkit.models.autoencoders.exact_grid import exact_grid, grid_beyond
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.receptive import Halo, ReceptiveField

FIELD = ReceptiveField("decode", Halo(5, 4), Halo(3, 3), False, False, False)


@pytest.mark.parametrize("tile", [11, 12, 15, 21, 40])
def test_kept_cells_are_a_halo_away_from_inner_borders(tile):
    grid = grid_beyond(FIELD, {"h": 60, "w": 33}, tile=tile)
    for tile_ in grid.tiles:
        for axis, box, core in zip(grid.axes, tile_.box, tile_.core_box, strict=True):
            halo, extent = FIELD.halo[axis], grid.extent[axis]
            assert box.start == 0 or core.start - box.start >= halo.before
            assert box.stop == extent or box.stop - core.stop >= halo.after
            assert len(core)


@pytest.mark.parametrize(
    ("name", "direction", "extent"),
    [
        ("AutoencoderTiny", "decode", 46),
        ("AutoencoderTiny", "encode", 44),
        ("AutoencoderDC", "decode", 33),
        ("AutoencoderDC", "encode", 30),
        ("AutoencoderKLLTXVideo_0.9.5", "decode", 20),
        ("AutoencoderKLLTX2Video", "decode", 19),
        ("AutoencoderKLLTX2Video", "encode", 18),
    ],
)
def test_tiles_are_the_whole(name, direction, extent):
    model = specimen(name)
    vae, arguments = model.build(), model.call if direction == "decode" else {}
    x = (model.latent if direction == "decode" else model.sample)(3, extent)
    grid = exact_grid(vae, x.shape, extent - 3, direction=direction, arguments=arguments)
    assert len(grid) > 1
    plan = tk.TilePlan(grid, tk.Blend.crop(), tk.Assignment.balanced(grid, 1))
    run = {"decode": tk.distributed.decode, "encode": tk.distributed.encode}[direction]
    with torch.no_grad():
        whole = ModelCall(direction, tk.Options(arguments=arguments))(vae, x)
    assert (run(vae, x, plan, arguments=arguments) - whole).abs().max() < 1e-5 * whole.abs().max()
    narrow = tk.TileGrid.cover(grid.extent, tile=extent - 3, overlap=2)
    plan = tk.TilePlan(narrow, tk.Blend.crop(), tk.Assignment.balanced(narrow, 1))
    assert (run(vae, x, plan, arguments=arguments) - whole).abs().max() > 1e-4 * whole.abs().max()


def test_an_axis_within_one_tile_stays_whole():
    assert grid_beyond(FIELD, {"h": 60, "w": 6}, tile={"h": 20, "w": 6}).shape == (5, 1)


def test_a_tile_without_room_is_refused_with_its_numbers():
    with pytest.raises(tk.PlanError, match=r"tile=10 along h: .* 5 cells before and 4 after.* overlap by 10 "):
        grid_beyond(FIELD, {"h": 60, "w": 33}, tile=10)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("AutoencoderKL", "GroupNorm.*, and an attention over"),
        ("AutoencoderKLWan_2.1", "attention over the whole map"),
        ("AutoencoderKLLTXVideo_0.9.1", "random numbers"),
    ],
)
def test_classes_with_global_operations_are_refused(name, why):
    model = specimen(name)
    shape = model.latent(40, 40).shape
    with pytest.raises(tk.ModelError, match=f"{why}.*in its decode, so no overlap makes tiles exact.*ShardPlan"):
        exact_grid(model.build(), shape, 32, arguments=model.call)
