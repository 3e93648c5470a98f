"""Models of several dtypes: served where their own call works, refused by name where it does not."""

from __future__ import annotations

import pytest
import torch
from support import tiny
from torch import nn

import toolkit as tk
from toolkit.models.autoencoders.mixed_dtypes import mixture_named

GRID = tk.TileGrid.cover({"h": 8, "w": 8}, tile=6, overlap=2)
PLANS = [None, tk.ShardPlan(), tk.TilePlan(GRID, tk.Blend.linear(), tk.Assignment.balanced(GRID, 1))]


def with_norms_in_single_precision() -> nn.Module:
    vae = tiny.kl().bfloat16()
    for module in vae.modules():
        if isinstance(module, nn.GroupNorm):
            module.float()
    return vae


def test_norms_in_single_precision_are_served():
    vae, x = with_norms_in_single_precision(), tiny.latent("kl", 13, 11).bfloat16()
    with torch.no_grad():
        own = vae.decode(x).sample
    assert torch.equal(tk.distributed.decode(vae, x, convolutions="aten"), own)
    sharded = tk.distributed.decode(vae, x, tk.ShardPlan(), convolutions="aten")
    assert sharded.dtype == own.dtype
    # Statistics of bfloat16 are added up in another order.
    assert (sharded.float() - own.float()).abs().mean() < 0.2 * own.float().abs().mean()


def test_tiles_with_norms_in_single_precision_are_the_class_s_own():
    vae, x = with_norms_in_single_precision(), tiny.latent("kl", 13, 11).bfloat16()
    grid = tk.diffusers_grid(vae, x.shape)
    plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.balanced(grid, 1))
    output = tk.distributed.decode(vae, x, plan, convolutions="aten")
    vae.enable_tiling()
    with torch.no_grad():
        assert torch.equal(output, vae.decode(x).sample)


def test_a_last_layer_in_another_dtype_gives_its_own():
    vae, x = tiny.kl().bfloat16(), tiny.latent("kl", 8, 8).bfloat16()
    vae.decoder.conv_out.float()
    vae.decoder.conv_out.register_forward_pre_hook(to_float)
    outputs = [tk.distributed.decode(vae, x, plan) for plan in (PLANS[0], PLANS[2])]
    assert [output.dtype for output in outputs] == [torch.float32] * 2


def to_float(module: nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    return (args[0].float(),)


@pytest.mark.parametrize("plan", PLANS, ids=["whole", "shards", "tiles"])
def test_dtypes_that_do_not_go_together_are_named(plan):
    vae, x = tiny.kl(), tiny.latent("kl", 8, 8)
    vae.decoder.up_blocks.bfloat16()
    message = r"torch\.bfloat16 in decoder\.up_blocks\.0.*, torch\.float32 in encoder\.conv_in\).*vae\.to\(dtype\)"
    with pytest.raises(tk.ModelError, match=message):
        tk.distributed.decode(vae, x, plan)


def test_other_errors_are_left_alone():
    vae = tiny.kl()
    vae.decoder.bfloat16()
    with pytest.raises(RuntimeError, match="out of memory"), mixture_named(vae):
        raise RuntimeError("out of memory")
    with pytest.raises(tk.RunCancelled), mixture_named(vae):
        raise tk.RunCancelled("type")
    with pytest.raises(RuntimeError, match="type"), mixture_named(tiny.kl()):
        raise RuntimeError("type")
