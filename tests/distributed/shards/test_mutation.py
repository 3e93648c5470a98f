"""The tests can fail: without any one of the rules that reach across borders, the result is plainly wrong."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from support.sharded import inputs, relative

import toolkit as tk
from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.shards.rules.local import like_first
from toolkit.models.autoencoders.model_call import ModelCall

REMOVED = {"statistics": {"group_norm": like_first}, "attention": {"scaled_dot_product_attention": like_first}}
CASES = [
    ("halo", "AutoencoderKLWan_2.1"),
    ("halo", "AutoencoderKL_flux"),
    ("halo", "AutoencoderKLLTX2Video"),
    ("statistics", "AutoencoderKL_flux"),
    ("statistics", "AutoencoderKLMochi"),
    ("attention", "AutoencoderKLWan_2.1"),
    ("attention", "AutoencoderKLHunyuanImage"),
]


def error_without(what: str, name: str, way: str) -> float:
    """The relative error of a sharded call in which one rule is missing; on the root."""
    vae, x, arguments = inputs(name, way, 6, 5)
    take = Exchange.take

    def nothing_from_neighbours(self, message):
        rows = take(self, message)
        return torch.zeros_like(rows) if what == "halo" and message.label.purpose.startswith("halo") else rows

    run = tk.distributed.decode if way == "decode" else tk.distributed.encode
    with mock.patch.object(Exchange, "take", nothing_from_neighbours):
        sharded = run(vae, x, tk.ShardPlan(h=2), arguments=arguments, rules=REMOVED.get(what))
    if sharded is None:
        return 0.0
    with torch.no_grad():
        return relative(sharded, ModelCall(way, tk.Options(arguments=arguments))(vae, x))


@pytest.mark.parametrize("way", ["decode", "encode"])
@pytest.mark.parametrize(("what", "name"), CASES)
def test_a_missing_rule_shows(cluster, what, name, way):
    intact, broken = (max(cluster.run(error_without, kind, name, way)) for kind in ("nothing", what))
    assert intact < 1e-5
    assert broken > 1e-3
