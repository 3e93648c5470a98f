"""Shards on hosts: every place has one rank, and no order or shape has shorter borders between hosts."""

from __future__ import annotations

import pickle
from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import PlanError
from toolkit.geometry import ShardPlan, Topology
from toolkit.geometry.shard_order import borders_of


def divisors(number: int) -> list[int]:
    return [one for one in range(1, number + 1) if number % one == 0]


def every_plan(ranks: int) -> list[ShardPlan]:
    return [
        ShardPlan(h, ranks // h, block=block)
        for h in divisors(ranks)
        for block in (None, *product(divisors(h), divisors(ranks // h)))
    ]


@pytest.mark.parametrize("ranks", [1, 2, 4, 6, 8, 12, 16])
def test_every_order_gives_each_rank_one_place_and_ascends_along_rows_and_columns(ranks):
    for plan in every_plan(ranks):
        places = [plan.position(rank) for rank in range(ranks)]
        assert sorted(map(str, places)) == sorted(str({"h": i, "w": j}) for i in range(plan.h) for j in range(plan.w))
        assert [plan.rank_at(**place) for place in places] == list(range(ranks))
        assert places[0] == {"h": 0, "w": 0}
        rows = [[plan.rank_at(i, j) for j in range(plan.w)] for i in range(plan.h)]
        assert all(list(line) == sorted(line) for line in (*rows, *zip(*rows, strict=True)))
        assert [rank for row in rows for rank in row] == list(plan.part_owners)


def test_without_a_block_the_order_is_that_of_rows():
    assert ShardPlan(2, 3).part_owners == ShardPlan(2, 3, block=(1, 3)).part_owners == tuple(range(6))


@given(st.sampled_from([(2, 2), (2, 4), (4, 2), (3, 2), (2, 3), (4, 4)]), st.integers(32, 99), st.integers(32, 99))
@settings(max_examples=60, deadline=None)
def test_no_shape_and_no_block_has_shorter_borders_between_hosts(size, h, w):
    topology, extent = Topology(*size), {"h": h, "w": w}
    chosen = ShardPlan.over(topology, extent)
    assert chosen.ranks == topology.ranks
    best = min(plan.border_cells(extent, topology)[0] for plan in every_plan(topology.ranks))
    assert chosen.border_cells(extent, topology)[0] == best


@pytest.mark.parametrize("h", [2, 4, 8])
@pytest.mark.parametrize("sizes", [(4, 4), (2, 2, 2, 2), (6, 2), (4, 2, 2)], ids=str)
def test_blocks_are_as_good_as_any_block_for_every_shape(h, sizes):
    topology, extent = Topology(len(sizes), sizes), {"h": 40, "w": 64}
    plan = ShardPlan(h, 8 // h)
    every = [
        ShardPlan(h, 8 // h, block=block).border_cells(extent, topology)[0]
        for block in product(divisors(h), divisors(8 // h))
    ]
    assert plan.on(topology, extent).border_cells(extent, topology)[0] == min(every)


def test_two_hosts_of_two_are_as_good_as_any_placement():
    topology = Topology(hosts=2, per_host=2)
    for h, w in ((60, 104), (104, 60)):
        least = min(
            borders_of((h // 2,) * 2, (w // 2,) * 2, None, hosts=hosts).between for hosts in permutations((0, 0, 1, 1))
        )
        assert ShardPlan(2, 2).on(topology, {"h": h, "w": w}).border_cells({"h": h, "w": w}, topology)[0] == least
    assert ShardPlan(2, 2).on(topology, {"h": 60, "w": 104}).block == (2, 1)
    assert ShardPlan(2, 2).on(topology, {"h": 104, "w": 60}).block is None


def test_a_plan_with_a_block_is_a_value_and_prints_it():
    plan = ShardPlan(h=4, w=4, block=(2, 2))
    assert pickle.loads(pickle.dumps(plan)) == plan != ShardPlan(h=4, w=4)
    assert repr(plan) == "ShardPlan(4 x 4 shards in blocks of 2 x 2, borders exchanged, attention gathered)"
    assert plan.shard(4, {"h": 40, "w": 40}) == ShardPlan(h=4, w=4).shard(2, {"h": 40, "w": 40})
    html = plan._repr_html_()
    assert "0 left, 4 right, 3 below" in html


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ((3, 1), r"block=\(3, 1\): 3 does not divide the 2 shards along h"),
        ((1, 3), r"block=\(1, 3\): 3 does not divide the 4 shards along w"),
        ([2, 2], r"block=\[2, 2\]: must be a tuple of two ints"),
        ((2, 2, 1), "must be a tuple of two ints"),
        ((0, 2), "must be a tuple of two ints"),
        ((True, 2), "must be a tuple of two ints"),
        (2, "block=2: must be a tuple of two ints"),
    ],
    ids=str,
)
def test_blocks_that_do_not_divide_the_shards_are_refused(block, message):
    with pytest.raises(PlanError, match=message):
        ShardPlan(h=2, w=4, block=block)


def test_places_maps_and_topologies_that_do_not_fit_are_refused():
    with pytest.raises(PlanError, match="w=4: must be an int of at least 0 and at most 3"):
        ShardPlan(h=2, w=4).rank_at(0, 4)
    with pytest.raises(PlanError, match=r"4 shards, one for each rank of 2 hosts .*: h=2 latent cells in 4"):
        ShardPlan.over(Topology(2, 2), {"h": 2, "w": 3})
    with pytest.raises(PlanError, match=r"topology=2: must be a tk\.Topology"):
        ShardPlan.over(2, {"h": 20, "w": 30})
    with pytest.raises(PlanError, match="the plan is for 4 ranks, the topology has 2"):
        ShardPlan(2, 2).on(Topology(2, 1), {"h": 20, "w": 30})


def test_of_equal_borders_those_without_corners_between_hosts_are_chosen():
    two, wide, high = Topology(hosts=2, per_host=2), {"h": 60, "w": 104}, {"h": 104, "w": 60}
    assert ShardPlan.over(two, wide) == ShardPlan(1, 4)
    # Rows between hosts carry no corners, and the borders within a host are shorter than those of 4 x 1.
    assert ShardPlan.over(two, high) == ShardPlan(2, 2)
