"""The rows that cross a border: which ones, from whom, and in whose memory."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from toolkit.distributed.shards.halo import extend, padded
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Strip, layout_of, with_layout
from toolkit.errors import NotExact
from toolkit.geometry.shard_plan import ShardPlan


class Wire:
    """Messages of one rank, written down instead of sent; the other ranks' rows are cut from the whole map."""

    def __init__(self, whole: torch.Tensor, strip: Strip, rank: int) -> None:
        self.whole, self.strip, self.member = whole, strip, SimpleNamespace(rank=rank)
        self.sent: list[tuple[int, torch.Tensor]] = []

    def swap(self, label, sends=(), receives=()):
        self.sent += [(one.to, one.tensor) for one in sends]
        return [self.receive(one.shape, one.source) for one in receives]

    def receive(self, shape, source):
        own, rows = self.strip.own(source), shape[self.strip.dim]
        near = own.stop - rows if source < self.member.rank else own.start
        return self.whole.narrow(self.strip.dim, near, rows)

    def take(self, message):
        return message


def shard_of(whole: torch.Tensor, strip: Strip, rank: int, **plan) -> tuple[Shard, torch.Tensor]:
    wire = Wire(whole, strip, rank)
    shard = Shard(ShardPlan(h=len(strip.extents), **plan), wire, "aten", {}, False)
    held = strip.held(rank)
    return shard, with_layout(whole.narrow(strip.dim, held.start, len(held)).clone(), (strip,))


@pytest.mark.parametrize("mode", ["constant", "replicate", "reflect"])
@pytest.mark.parametrize("extents", [(3, 4), (2, 2, 3), (5, 2, 4)])
@pytest.mark.parametrize(("lo", "hi"), [(1, 1), (0, 1), (1, 0)])
def test_every_rank_gets_the_rows_of_the_padded_whole(mode, extents, lo, hi):
    whole = torch.arange(sum(extents) * 6.0).view(1, 2, sum(extents), 3)
    expected = torch.nn.functional.pad(whole, (0, 0, lo, hi), mode)
    strip = Strip("h", 2, 1, extents)
    for rank in range(len(extents)):
        shard, part = shard_of(whole, strip, rank)
        own = strip.own(rank)
        assert torch.equal(
            extend(shard, "pad", part, strip, lo=lo, hi=hi, mode=mode), expected[:, :, own.start : own.stop + lo + hi]
        )


def test_a_halo_thicker_than_a_shard_comes_from_further_ranks():
    whole, strip = torch.randn(1, 1, 9, 2), Strip("h", 2, 1, (4, 1, 4))
    expected = torch.nn.functional.pad(whole, (0, 0, 2, 2))

    class Far(Wire):
        def receive(self, shape, source):
            own, me = self.strip.own(source), self.strip.own(self.member.rank)
            start = max(own.start, me.start - 2) if source < self.member.rank else own.start
            return self.whole.narrow(2, start, shape[2])

    for rank in range(3):
        shard, part = shard_of(whole, strip, rank)
        shard.exchange = Far(whole, strip, rank)
        own = strip.own(rank)
        assert torch.equal(extend(shard, "pad", part, strip, lo=2, hi=2), expected[:, :, own.start : own.stop + 4])


def test_without_messages_the_margin_is_consumed():
    whole, strip = torch.arange(20.0).view(1, 1, 10, 2), Strip("h", 2, 1, (3, 4, 3), margin=2)
    expected = torch.nn.functional.pad(whole, (0, 0, 1, 1))
    for rank in range(3):
        shard, part = shard_of(whole, strip, rank, borders="recompute")
        after = padded(strip, 1, 1)
        held = after.held(rank)
        assert torch.equal(extend(shard, "pad", part, strip, lo=1, hi=1), expected[:, :, held.start : held.stop + 2])
        assert not shard.exchange.sent
    spent = strip._replace(margin=0)
    shard, part = shard_of(whole, spent, 1, borders="recompute")
    with pytest.raises(NotExact, match="it reads 1 rows beyond the shard, of which 0 are left"):
        extend(shard, "pad", part, spent, lo=1, hi=1)


def test_what_is_sent_is_not_the_models_memory():
    """One channel: the rows lie densely in the map, and would be sent from where the model goes on to write."""
    whole, strip = torch.randn(1, 1, 6, 4), Strip("h", 2, 1, (3, 3))
    shard, part = shard_of(whole, strip, 0)
    extend(shard, "pad", part, strip, lo=1, hi=1)
    ((to, rows),) = shard.exchange.sent
    assert to == 1
    assert rows.untyped_storage().data_ptr() != part.untyped_storage().data_ptr()
    assert layout_of(part) == (strip,)
