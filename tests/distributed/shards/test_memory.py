"""What rules remember: nothing that looks alike is mistaken for something else, in this call or a later one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from support.sharded import inputs

import toolkit as tk
from toolkit.distributed.shards.mode import ShardMode
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Strip, layout_of, with_layout
from toolkit.errors import NotExact
from toolkit.geometry.shard_plan import ShardPlan


def alone() -> ShardMode:
    """The only rank's mode; all of its calls share a memory."""
    exchange = SimpleNamespace(member=SimpleNamespace(rank=0))
    return ShardMode(Shard(ShardPlan(), exchange, "aten", {}, False))


def test_the_same_shapes_with_other_strips():
    for dim, after in ((2, 3), (3, 2), (1, 1)):
        strip = Strip("h", dim, 1, (6,))
        x = with_layout(torch.randn(1, 6, 6, 6), (strip,))
        with alone():
            assert layout_of(x.permute(0, 1, 3, 2)) == (strip._replace(dim=after),)
            assert layout_of(x.reshape(6, 6, 6)) == (strip._replace(dim=dim - 1),)
            assert layout_of(x.sum(0)) == (strip._replace(dim=dim - 1),)


def test_indices_that_are_equal_but_do_something_else():
    x = with_layout(torch.randn(3, 3, 2, 6), (Strip("h", 3, 1, (6,)),))
    with alone():
        x[0, 2, 1] = 0.0
        x[1] = 0.0
        for place in ([0, 2, 1], True):
            with pytest.raises(NotExact, match="cuts through"):
                x[place] = 0.0
        assert layout_of(x[0, 1:2])[0].dim == 2
        by_list, cut = "tensor or list", "cuts through"
        for places, why in (((0, [1, 2]), by_list), ((True, 1), by_list), ((..., slice(1, 2)), cut)):
            with pytest.raises(NotExact, match=why):
                x[places]


def test_a_tensor_among_the_arguments_is_looked_at_every_time():
    x, like = with_layout(torch.randn(1, 6, 1), (Strip("h", 1, 1, (6,)),)), torch.empty(1, 6, 4)
    with alone():
        assert layout_of(x.expand_as(like))[0].dim == 1
        like.resize_(2, 1, 6, 4)
        assert layout_of(x.expand_as(like))[0].dim == 2


@pytest.mark.parametrize("padding", [1, (1, 1), [1, 1], (0, 1), "same", (2, 0)])
def test_convolutions_and_paddings_of_a_lone_rank_are_the_models_own(padding):
    strip = Strip("h", 2, 1, (6,))
    x, weight = with_layout(torch.randn(2, 3, 6, 5), (strip,)), torch.randn(4, 3, 3, 3)
    for _ in range(2):
        with alone():
            out = F.conv2d(x, weight, padding=padding)
            wide = F.pad(x, (0, 1, 1, 0), value=2.0)
            then = F.conv2d(wide, weight, stride=[1, 1])
        assert torch.equal(out, F.conv2d(x, weight, padding=padding))
        assert layout_of(out) == (strip._replace(extents=(out.shape[2],)),)
        assert layout_of(wide) == (strip._replace(lo=1),)
        assert torch.equal(then, F.conv2d(F.pad(x, (0, 1, 1, 0), value=2.0), weight))
        assert layout_of(then) == (strip._replace(extents=(5,)),)
        with alone(), pytest.raises(NotExact, match="padded already"):
            F.conv2d(wide, weight, padding=(1, 0))


def test_refusals_are_not_remembered_as_permissions():
    weight, x = torch.randn(1, 1, 2, 1), with_layout(torch.randn(1, 1, 5, 3), (Strip("h", 2, 1, (5, 4)),))
    for _ in range(2):
        with alone(), pytest.raises(NotExact, match="multiples of its stride 2"):
            F.conv2d(x, weight, stride=(2, 1))


def test_a_lone_shard_of_a_model_without_statistics_is_its_own_call_bit_for_bit():
    vae, x, _ = inputs("AutoencoderKLWan_2.1", "decode", 5, 3)
    with torch.no_grad():
        own = vae.decode(x).sample
    for _ in range(2):
        assert torch.equal(tk.distributed.decode(vae, x, ShardPlan(), convolutions="aten"), own)
