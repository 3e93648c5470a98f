"""The self check passes on what is exact, and notices what is not."""

from __future__ import annotations

import pytest
import torch
from support.sharded import inputs
from torch import nn

import toolkit as tk
from toolkit.models.autoencoders.census import CENSUS

NAMES = ["AutoencoderKL", "AutoencoderKLHunyuanVideo15", "AutoencoderKLAllegro", "AutoencoderVidTok_noncausal"]


@pytest.mark.parametrize("name", NAMES)
def test_both_ways(cluster, name):
    table = tk.self_check(CENSUS[name].build(), tk.ShardPlan(h=2, w=2), cluster)
    assert table.index.tolist() == ["decode", "encode"]
    assert (table["relative error"] < 1e-5).all()


def test_one_way_where_the_other_is_not_served(cluster):
    wan = CENSUS["AutoencoderKLWan_2.1"].build()
    assert tk.self_check(wan, tk.ShardPlan(h=2, borders="recompute"), cluster).index.tolist() == ["decode"]
    ltx = CENSUS["AutoencoderKLLTXVideo_0.9.1"]
    assert len(tk.self_check(ltx.build(), tk.ShardPlan(w=2), cluster, frames=2, arguments=ltx.call)) == 2


class Local(nn.Module):
    """Depends on how large a map it is given, through a number that no tensor carries."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (1 + 0.05 * x.shape[-2])


def test_what_no_rule_can_see_is_noticed(cluster):
    vae, _, _ = inputs("AutoencoderKL", "decode", 4, 4)
    vae.decoder.conv_norm_out = nn.Sequential(vae.decoder.conv_norm_out, Local())
    with pytest.raises(tk.NotExact, match=r"AutoencoderKL by ShardPlan\(2 x 1 .* not the model's own decode"):
        tk.self_check(vae, tk.ShardPlan(h=2), cluster)
