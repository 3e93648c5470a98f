"""Gathering over uneven shards and lattices, with threads for ranks: what arrives, from whom, and in what order."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from support.wires import Wires, on_threads
from torch import nn

from toolkit.distributed.shards.gather import add_up, around, collect, collect_alike, partners, share_of
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Strip
from toolkit.geometry.shard_plan import ShardPlan

H, W = (3, 1, 4), (2, 5)


def shards_of(h: int = 1, w: int = 1) -> list[Shard]:
    plan = ShardPlan(h=h, w=w)
    return [Shard(plan, wire, "aten", nn.Identity(), False) for wire in Wires().exchanges(plan.ranks)]


def rows_of(shard: Shard, rank: int | None = None) -> torch.Tensor:
    """The rows of one rank, each filled with its number in the whole map."""
    strip = Strip("h", 1, 1, H)
    own = strip.own(shard.plan.position(shard.exchange.member.rank if rank is None else rank)["h"])
    return torch.arange(float(own.start), float(own.stop)).expand(2, -1).contiguous()


def on_every(shards, function):
    return on_threads([partial(function, shard) for shard in shards])


def test_every_rank_gets_every_part_in_rank_order():
    def job(shard):
        return torch.cat(collect(shard, rows_of(shard), dim=1, layout=(Strip("h", 1, 1, H),), what="rows"), 1)

    for found in on_every(shards_of(h=3), job):
        assert found[0].tolist() == list(range(8))


def test_around_the_ring_the_parts_come_one_by_one_from_the_ranks_before():
    def job(shard):
        parts = around(shard, rows_of(shard), dim=1, layout=(Strip("h", 1, 1, H),), what="rows")
        return [(owner, part.clone()) for owner, part in parts]

    shards = shards_of(h=3)
    for rank, found in enumerate(on_every(shards, job)):
        assert [owner for owner, _ in found] == [rank, (rank - 1) % 3, (rank - 2) % 3]
        for owner, part in found:
            assert torch.equal(part, rows_of(shards[rank], owner))
        # Two messages each way, always to the next rank and from the one before.
        assert shards[rank].exchange.log == [
            (what, peer, "rows")
            for _ in range(2)
            for what, peer in (("send", (rank + 1) % 3), ("receive", (rank - 1) % 3))
        ]


def test_partners_on_a_lattice_are_those_with_other_parts_of_the_same_map():
    shards = shards_of(h=2, w=3)
    h, w = Strip("h", 2, 1, (4, 4)), Strip("w", 3, 1, (2, 2, 2))
    assert partners(shards[4], (h, w)) == [0, 1, 2, 3, 4, 5]
    assert partners(shards[4], (h,)) == [1, 4]
    assert partners(shards[4], (w,)) == [3, 4, 5]
    assert partners(shards[4], ()) == [4]


def test_shares_are_exact_ratios():
    shards = shards_of(h=3, w=2)
    layout = (Strip("h", 2, 1, H), Strip("w", 3, 1, W))
    cells = [H[place["h"]] * W[place["w"]] for place in map(shards[0].plan.position, range(6))]
    for shard in shards:
        mine = cells[shard.exchange.member.rank]
        assert [share_of(shard, layout, rank) * mine for rank in range(6)] == cells


def test_two_strips_in_one_dim():
    """Tokens: the cells of h and w in one dim."""
    layout = (Strip("h", 1, 5, H), Strip("w", 1, 1, W))

    def job(shard):
        place = shard.index
        own = torch.full((1, H[place["h"]] * W[place["w"]]), float(shard.exchange.member.rank))
        return [part.shape[1] for part in collect(shard, own, dim=1, layout=layout, what="tokens")]

    assert on_every(shards_of(h=3, w=2), job) == [[h * w for h in H for w in W]] * 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_have_the_same_bits_on_every_rank(dtype):
    torch.manual_seed(0)
    terms = [torch.randn(4, 5).to(dtype) * 10**rank for rank in range(3)]

    def job(shard):
        return add_up(shard, terms[shard.exchange.member.rank], layout=(Strip("h", 2, 1, H),), what="sum")

    first, *others = on_every(shards_of(h=3), job)
    assert all(torch.equal(first, other) for other in others)
    assert torch.equal(first, torch.stack(terms).sum(0))


def test_what_is_alike_travels_as_it_is_although_shards_are_uneven():
    def job(shard):
        return collect_alike(shard, torch.full((3,), float(shard.exchange.member.rank)),
                             layout=(Strip("h", 2, 1, H),), what="statistics")  # fmt: skip

    for found in on_every(shards_of(h=3), job):
        assert [part.tolist() for part in found] == [[0.0] * 3, [1.0] * 3, [2.0] * 3]


def test_a_lone_rank_sends_nothing():
    (shard,) = shards_of()
    layout = (Strip("h", 1, 1, (8,)),)
    x = torch.zeros(2, 8)
    (part,) = collect(shard, x, dim=1, layout=layout, what="rows")
    assert part is x
    assert [owner for owner, _ in around(shard, x, dim=1, layout=layout, what="rows")] == [0]
    assert shard.exchange.log == []
