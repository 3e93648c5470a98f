"""HunyuanVideo-1.5: tiles for any number of ranks, and shards, against the untiled decode."""

from __future__ import annotations

import math

from support.sharded import QUIET, inputs

import toolkit as tk
from toolkit.models.autoencoders.census import specimen
from toolkit.models.autoencoders.small_tiles import with_small_tiles


def test_quality_against_the_untiled_decode(cluster):
    """Random weights: the numbers say nothing of pictures, but what is the same and what is not is plain."""
    vae = with_small_tiles(specimen("AutoencoderKLHunyuanVideo15"))
    _, latent, _ = inputs("AutoencoderKLHunyuanVideo15", "decode", 9, 7)
    untiled = cluster.decode(vae, latent, **QUIET)
    grid = tk.diffusers_grid(vae, latent.shape)
    one, four = (
        cluster.decode(vae, latent, tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.balanced(grid, n)), **QUIET)
        for n in (1, 4)
    )
    assert tk.compare(four, one).identical
    tiled, sharded = (
        tk.compare(run, untiled) for run in (four, cluster.decode(vae, latent, tk.ShardPlan(h=2, w=2), **QUIET))
    )
    assert tiled.psnr < 40
    assert sharded.psnr > 110
    assert math.isclose(sharded.ssim, 1.0, abs_tol=1e-6)
    assert sharded.colour_shift < 1e-6 < tiled.colour_shift
