"""Several ranks on an accelerator; on one device they talk through the host."""

from __future__ import annotations

import pytest
import torch
from support import tiny
from support.sharded import both, relative

import toolkit as tk

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.accelerator.is_available(), reason="no accelerator on this machine"),
]


@pytest.fixture(scope="module")
def two():
    with tk.Cluster(ranks=2) as cluster:
        yield cluster


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", tiny.MODELS)
def test_equal_to_diffusers(two, name, dtype):
    vae, latent = tiny.MODELS[name]().to(dtype), tiny.latent(name, 13, 19, dtype=dtype)
    vae.enable_tiling()
    expected = two.decode(vae, latent, progress=False).output
    grid = tk.diffusers_grid(vae, latent.shape)
    for deal in (tk.Assignment.balanced, tk.Assignment.contiguous):
        run = two.decode(vae, latent, tk.TilePlan(grid, tk.Blend.diffusers(), deal(grid, 2)), progress=False)
        assert torch.equal(run.output, expected)
        assert (run.peaks > 0).all()


def test_ranks_on_one_device_say_so(two):
    shared = torch.accelerator.device_count() < 2
    assert two.staged == shared
    assert ("staged through the host" in repr(two)) == shared


@pytest.mark.parametrize("name", ["AutoencoderKL_flux", "AutoencoderKLWan_2.2", "AutoencoderKLHunyuanVideo15"])
@pytest.mark.parametrize("way", ["decode", "encode"])
def test_shards_are_the_whole(two, name, way):
    for plan in (tk.ShardPlan(h=2), tk.ShardPlan(w=2, attention="ring")):
        assert relative(*both(two, name, way, plan, 9, 7, dtype=torch.float64)) < 1e-10
