"""Narrow dtypes: no worse than the model itself, judged by single precision."""

from __future__ import annotations

import pytest
import torch
from support.sharded import QUIET, inputs

import toolkit as tk

MODELS = ["AutoencoderKL", "AutoencoderKLWan_2.1", "AutoencoderKLHunyuanVideo15", "AutoencoderKLCogVideoX"]


def error(output: torch.Tensor, truth: torch.Tensor) -> float:
    """Root mean square, which one unlucky cell does not decide."""
    return float((output.double() - truth.double()).square().mean().sqrt())


@pytest.mark.parametrize("way", ["decode", "encode"])
@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_is_as_good_on_shards_as_whole(cluster, name, way):
    # Not large: processors without instructions for bfloat16 take long.
    vae, x, arguments = inputs(name, way, 5, 4)
    vae, x = vae.bfloat16(), x.bfloat16()
    run = cluster.decode if way == "decode" else cluster.encode
    truth = run(vae.float(), x.float(), arguments=arguments, **QUIET).output
    vae = vae.bfloat16()
    whole = run(vae, x, arguments=arguments, **QUIET).output
    for plan in (tk.ShardPlan(h=2), tk.ShardPlan(h=2, w=2)):
        sharded = run(vae, x, plan, arguments=arguments, **QUIET).output
        assert sharded.dtype == torch.bfloat16
        assert error(sharded, truth) <= 1.2 * error(whole, truth)


@pytest.mark.parametrize("way", ["decode", "encode"])
@pytest.mark.parametrize("name", ["AutoencoderKL_flux", "AutoencoderKLWan_2.1"])
def test_autocast_keeps_its_dtype_and_its_accuracy(cluster, name, way):
    vae, x, _ = inputs(name, way, 9, 7)
    run = cluster.decode if way == "decode" else cluster.encode
    truth = run(vae, x, **QUIET).output
    with torch.autocast("cpu", torch.bfloat16):
        whole = run(vae, x, **QUIET).output
        sharded = run(vae, x, tk.ShardPlan(h=2), **QUIET).output
    assert sharded.dtype == whole.dtype
    assert whole.dtype == torch.bfloat16
    assert error(sharded, truth) <= 1.2 * error(whole, truth)
