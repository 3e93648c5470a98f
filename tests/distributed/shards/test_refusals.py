"""Exact or refuse: what cannot be exact raises, on all ranks, and the model is left as it was."""

from __future__ import annotations

import copy
import time

import pytest
import torch
from support.sharded import QUIET, inputs
from torch import nn

import toolkit as tk
from toolkit.models.autoencoders.census import specimen

PLAN = tk.ShardPlan(h=2)


class Odd(nn.Module):
    """An operation in the way of a decoder's output."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        match self.what:
            case "unknown":
                return torch.fft.fft(x).real
            case "cut":
                return x[..., 1:, :]
            case "flip":
                return x.flip(-2)
            case "circular":
                return nn.functional.pad(x, (0, 0, 1, 1), mode="circular")
            case "bilinear":
                return nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear")
            case "position":
                return x + torch.arange(x.shape[-2])[:, None]
            case "softmax":
                return x.softmax(-2)
            case "indices":
                return x[..., torch.arange(x.shape[-2]), :]
            case "noise":
                return x + torch.randn_like(x)
            case "other noise":
                return x + torch.empty_like(x).normal_()
            case _:
                raise ValueError(self.what)


REASONS = {
    "unknown": "fft",
    "cut": "cuts through a sharded axis",
    "flip": "flip",
    "circular": "circular",
    "bilinear": "bilinear",
    "position": "meets a tensor that is not sharded",
    "softmax": "along a sharded axis",
    "indices": "a tensor or list of indices",
    "noise": "give seed=",
    "other noise": "normal_",
}


@pytest.mark.parametrize("what", REASONS)
def test_what_cannot_be_exact_is_refused_by_name(cluster, what):
    vae, x, _ = inputs("AutoencoderKL", "decode", 6, 5)
    vae.decoder.conv_norm_out = nn.Sequential(vae.decoder.conv_norm_out, Odd(what))
    begin = time.monotonic()
    with pytest.raises(tk.RankFailed, match=REASONS[what]) as refusal:
        cluster.decode(vae, x, PLAN, **QUIET)
    assert time.monotonic() - begin < 20
    assert "decoder.conv_norm_out.1" in str(refusal.value)
    # A module of somebody else's is tried out on a few rows first, with a seed.
    assert ("h 12+12 in dim 2" if what == "noise" else "h 12+8 in dim 2") in str(refusal.value)


def test_noise_from_a_seed_is_that_of_the_whole(cluster):
    vae, x, _ = inputs("AutoencoderKL", "decode", 6, 5)
    vae.decoder.conv_norm_out = nn.Sequential(vae.decoder.conv_norm_out, Odd("noise"))
    own = cluster.decode(vae, x, seed=3, **QUIET).output
    sharded = cluster.decode(vae, x, PLAN, seed=3, **QUIET).output
    assert float((sharded - own).abs().max()) < 1e-5
    assert float((cluster.decode(vae, x, PLAN, seed=4, **QUIET).output - own).abs().max()) > 0.1


def test_shards_that_are_too_thin_are_refused_before_anything_runs(cluster):
    vae, x, _ = inputs("AutoencoderKL", "decode", 5, 5)
    with pytest.raises(tk.PlanError, match=r"h=5 latent cells in 3 shards: each needs at least 2; use h=2"):
        cluster.decode(vae, x, tk.ShardPlan(h=3), **QUIET)


def test_more_ranks_than_the_cluster_has(cluster):
    vae, x, _ = inputs("AutoencoderKL", "decode", 12, 5)
    with pytest.raises(tk.PlanError, match="the plan is for 6 ranks, the cluster has 5"):
        cluster.decode(vae, x, tk.ShardPlan(h=6), **QUIET)


def test_classes_that_cannot_be_sharded_say_why(cluster):
    one = specimen("AutoencoderKLMiniMaxH3")
    with pytest.raises(tk.ModelError, match="vision transformer"):
        cluster.decode(one.build(), one.latent(4, 4), PLAN, **QUIET)
    kl = specimen("AutoencoderKL")
    with pytest.raises(tk.ModelError, match="borders='recompute' with AutoencoderKL"):
        cluster.decode(kl.build(), kl.latent(6, 4), tk.ShardPlan(h=2, borders="recompute"), **QUIET)
    with pytest.raises(tk.PlanError, match="for decode"):
        cluster.encode(kl.build(), kl.sample(6, 4), tk.ShardPlan(h=2, borders="recompute"), **QUIET)


def on_the_ranks(name: str, breaks: bool) -> tuple[bool, bool, bool]:
    """Whether a sharded decode raised, and left parameters and every attribute of every module as they were."""
    vae, x, _ = inputs(name, "decode", 6, 5)
    if breaks and torch.distributed.get_rank() == 1:
        vae.decoder.norm_out = nn.Sequential(vae.decoder.norm_out, Odd("unknown"))
    before, weights = [dict(vars(module)) for module in vae.modules()], copy.deepcopy(vae.state_dict())
    raised = False
    try:
        tk.distributed.decode(vae, x, PLAN)
    except (tk.NotExact, tk.RankFailed):
        raised = True
    after = [dict(vars(module)) for module in vae.modules()]
    same = all(a.keys() == b.keys() and all(a[key] is b[key] for key in a) for a, b in zip(before, after, strict=True))
    equal = all(torch.equal(value, weights[key]) for key, value in vae.state_dict().items())
    return raised, same, equal


@pytest.mark.parametrize("name", ["AutoencoderKLWan_2.1", "AutoencoderKLHunyuanVideo15", "AutoencoderDC_sana"])
def test_the_model_is_left_as_it_was(cluster, name):
    assert cluster.run(on_the_ranks, name, False)[:2] == [(False, True, True)] * 2


def test_a_refusal_on_one_rank_reaches_the_others_and_leaves_model_and_cluster_usable():
    with tk.Cluster(ranks=2, device="cpu", start="forkserver") as two:
        assert two.run(on_the_ranks, "AutoencoderKLWan_2.1", True) == [(True, True, True)] * 2
    with tk.Cluster(ranks=2, device="cpu", start="forkserver") as two:
        vae, x, _ = inputs("AutoencoderKLWan_2.1", "decode", 6, 5)
        vae.decoder.norm_out = nn.Sequential(vae.decoder.norm_out, Odd("unknown"))
        with pytest.raises(tk.RankFailed, match="fft"):
            two.decode(vae, x, PLAN, **QUIET)
        vae.decoder.norm_out = vae.decoder.norm_out[0]
        assert two.decode(vae, x, PLAN, **QUIET).output.shape == (1, 3, 5, 48, 40)


class Oblong(nn.Module):
    """Rows padded beforehand, columns by the convolution itself: on a lattice both borders meet in the corners."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self.conv.weight, self.conv.bias
        return nn.functional.conv2d(nn.functional.pad(x, (0, 0, 1, 1)), weight, bias, padding=(0, 1))


def test_rows_under_way_are_there_before_columns_are_padded(cluster):
    vae, x, _ = inputs("AutoencoderKL", "decode", 6, 5)
    vae.decoder.conv_out = Oblong(vae.decoder.conv_out)
    own = cluster.decode(vae, x, **QUIET).output
    for plan in (PLAN, tk.ShardPlan(h=2, w=2)):
        assert float((cluster.decode(vae, x, plan, **QUIET).output - own).abs().max()) < 1e-5
