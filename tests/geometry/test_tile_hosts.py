"""Tiles on hosts: the best that there is on small grids, never worse than without hosts, and no rank busier."""

from __future__ import annotations

from collections import Counter
from itertools import product
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import PlanError
from toolkit.geometry import Assignment, Blend, TileGrid, TilePlan, Topology

SHAPES = [(1, 5), (2, 2), (2, 3), (2, 4), (3, 3), (2, 5), (3, 4), (4, 3)]
HOSTS = [(2, 2), (1, 1), (3, 1), (1, 3), (1, 1, 1), (2, 1, 1)]
MOST = 20_000
"""The most assignments of tiles to hosts that are tried."""


def between(grid: TileGrid, assignment: Assignment, topology: Topology) -> int:
    """Cells that a plan's messages carry from one host to another."""
    messages = TilePlan(grid, Blend.linear(), assignment).planned_messages
    return sum(cells for a, b, cells in messages if topology.host_of(a) != topology.host_of(b))


def even_grid(h: int, w: int) -> TileGrid:
    grid = TileGrid.cover({"h": 8 * h + 2, "w": 8 * w + 2}, tile=10, overlap=2)
    assert grid.shape == (h, w)
    return grid


def least(grid: TileGrid, topology: Topology) -> int:
    """The fewest cells between hosts, by trying every host for every tile. All tiles cost the same."""
    ranks, tiles = topology.ranks, len(grid)
    hosts = [topology.host_of(rank) for rank in range(ranks)]
    most = ceil(tiles / ranks)
    working = Counter(hosts[: min(ranks, tiles)])
    first = [hosts.index(host) for host in range(topology.hosts)]
    return min(
        between(grid, Assignment(tuple(first[host] for host in chosen), ranks), topology)
        for chosen in product(range(topology.hosts), repeat=tiles)
        if all(working[host] <= chosen.count(host) <= working[host] * most for host in range(topology.hosts))
    )


@pytest.mark.parametrize(
    ("shape", "per_host"),
    [(shape, hosts) for shape in SHAPES for hosts in HOSTS if len(hosts) ** (shape[0] * shape[1]) <= MOST],
    ids=str,
)
def test_on_small_grids_nothing_is_better(shape, per_host):
    grid, topology = even_grid(*shape), Topology(len(per_host), per_host)
    found = Assignment.balanced(grid, topology.ranks, topology=topology)
    assert between(grid, found, topology) == least(grid, topology)


@given(
    st.integers(8, 60), st.integers(8, 60), st.integers(5, 20), st.integers(0, 9),
    st.lists(st.integers(1, 4), min_size=1, max_size=4), st.booleans(), st.sampled_from(["cells", "free", "uneven"]),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_it_is_never_worse_and_no_rank_is_busier(h, w, tile, overlap, per_host, strided, cost):
    overlap = min(overlap, tile - 1)
    extent = {"h": h, "w": w}
    make = TileGrid.strided if strided else TileGrid.cover
    grid = make(extent, tile, max(tile - overlap, 3) if strided else overlap)
    if len(grid) > 150:
        return
    costs = {"cells": None, "free": lambda one: 0, "uneven": lambda one: one.index % 7 + 0.1}[cost]
    of = costs or (lambda one: one.cells)
    topology = Topology(len(per_host), tuple(per_host))
    plain = Assignment.balanced(grid, topology.ranks, costs)
    hosted = Assignment.balanced(grid, topology.ranks, costs, topology)
    assert hosted.ranks == plain.ranks
    assert hosted.idle == plain.idle
    busiest = [
        max(sum(sorted(of(grid.tiles[tile]) for tile in one.tiles_of(rank))) for rank in range(one.ranks))
        for one in (plain, hosted)
    ]
    assert busiest[1] <= busiest[0]
    if grid.pairwise:
        assert between(grid, hosted, topology) <= between(grid, plain, topology)
    assert hosted == Assignment.balanced(grid, topology.ranks, costs, topology)


def test_two_hosts_get_a_half_each_instead_of_every_other_tile():
    grid, two = TileGrid.cover({"h": 90, "w": 160}, tile=32, overlap=8), Topology(hosts=2, per_host=2)
    plain, hosted = Assignment.balanced(grid, 4), Assignment.balanced(grid, 4, topology=two)
    assert hosted.counts == plain.counts
    assert (between(grid, plain, two), between(grid, hosted, two)) == (11801, 7937)
    places = [{two.host_of(hosted.owners[tile.index]) for tile in grid.tiles if tile.position[1] == w} for w in (0, 6)]
    assert places == [{1}, {0}]


def test_tiles_in_time_too_and_a_topology_larger_than_the_ranks():
    grid = TileGrid.cover({"t": 12, "h": 20, "w": 20}, tile={"t": 4, "h": 8, "w": 8}, overlap={"t": 1, "h": 2, "w": 2})
    large = Topology(hosts=4, per_host=2)
    plain, hosted = Assignment.balanced(grid, 4), Assignment.balanced(grid, 4, topology=large)
    assert between(grid, hosted, large) < between(grid, plain, large)


def test_one_host_changes_nothing():
    grid = even_grid(3, 4)
    assert Assignment.balanced(grid, 5, topology=Topology(per_host=8)) == Assignment.balanced(grid, 5)


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        (Topology(per_host=3), "the plan is for 4 ranks, the topology has 3: give a larger one"),
        (3, r"topology=3: must be a tk\.Topology"),
    ],
    ids=str,
)
def test_topologies_that_do_not_fit_are_refused(topology, message):
    with pytest.raises(PlanError, match=message):
        Assignment.balanced(even_grid(2, 2), 4, topology=topology)
