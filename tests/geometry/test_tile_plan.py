"""Tile plans: what they ask of each rank, on examples worked by hand and by laws that always hold."""

import pickle
from dataclasses import FrozenInstanceError
from math import prod

import pytest
from geometry.grids import grids
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import PlanError
from toolkit.geometry import Assignment, Blend, Span, TileGrid, TilePlan
from toolkit.geometry.edges import all_edges

TWO = TileGrid(("w",), ((Span(0, 12), Span(8, 20)),))  # shares 0:8 and 8:20, one edge 8:12


def plan(grid: TileGrid, owners: tuple[int, ...], ranks: int | None = None, root: int = 0) -> TilePlan:
    return TilePlan(grid, Blend.linear(), Assignment(owners, ranks or max(owners) + 1), root)


def ledger(plan: TilePlan) -> list[tuple[int, ...]]:
    return [(cost.tiles, cost.work, cost.sent, cost.received, cost.kept, cost.largest) for cost in plan.costs]


def test_two_tiles_on_two_ranks():
    two = plan(TWO, (0, 1))
    assert two.finish == "shares"
    # Rank 0 sends the edge of 4 cells and gets the share of 12; it keeps its own 8.
    assert ledger(two) == [(1, 12, 4, 12, 8, 12), (1, 12, 12, 4, 12, 12)]
    assert (two.work, two.moved, two.imbalance) == ((12, 12), 16, 1.0)
    assert two.bytes_moved(100) == 1600


def test_the_root_need_not_be_rank_0():
    two = plan(TWO, (0, 1), root=1)
    # The share of 8 goes to rank 1, and so does the edge; nothing comes back.
    assert ledger(two) == [(1, 12, 12, 0, 8, 12), (1, 12, 0, 12, 12, 12)]
    assert two.moved == 12


def test_one_rank_moves_nothing():
    alone = plan(TWO, (0, 0))
    assert ledger(alone) == [(2, 24, 0, 0, 20, 12)]
    assert (alone.edges, alone.moved, alone.bytes_moved(100)) == ((), 0, 0)


def test_idle_ranks_are_asked_for_nothing():
    two = plan(TWO, (0, 2), ranks=4)
    assert ledger(two)[1] == ledger(two)[3] == (0, 0, 0, 0, 0, 0)
    assert two.imbalance == 2.0
    assert [two.peaks(100, 1000)[rank] for rank in (1, 3)] == [0, 0]


def test_an_idle_root_receives_every_share():
    two = plan(TWO, (1, 2), root=0)
    assert ledger(two) == [(0, 0, 0, 20, 0, 0), (1, 12, 4 + 8, 0, 8, 12), (1, 12, 12, 4, 12, 12)]


def test_where_three_tiles_meet_raw_tiles_travel_whole():
    grid = TileGrid(("w",), ((Span(0, 6), Span(2, 8), Span(4, 10)),))
    three = plan(grid, (0, 1, 1))
    assert (three.finish, three.edges) == ("tiles", ())
    assert ledger(three) == [(1, 6, 0, 12, 6, 6), (2, 12, 12, 0, 12, 6)]


def test_edges_cross_ranks_only():
    grid = TileGrid(("h", "w"), ((Span(0, 6), Span(4, 10)),) * 2)
    by_row = plan(grid, (0, 0, 1, 1))
    assert [(edge.source, edge.target) for edge in by_row.edges] == [(0, 2), (0, 3), (1, 3)]
    # Edge 0 to 2 is 2 x 4 cells, the corner 2 x 2 and edge 1 to 3 is 2 x 6.
    assert [(cost.sent, cost.received) for cost in by_row.costs] == [(24, 60), (60, 24)]


def test_peaks_of_two_ranks_by_hand():
    two = plan(TWO, (0, 1))
    # Held edges: rank 0 has its own trailing 4, which it also sends; rank 1 receives 4.
    assert [cost.edges for cost in two.costs] == [8, 4]
    # Root: output 20 and edges 8; then 12 cells of working memory, or 1 receive of 12, or a blend's two copies of 12.
    assert two.peaks(cell_bytes=100) == (2800 + 2400, (12 + 4) * 100 + 2400)
    assert two.peaks(cell_bytes=100, working_bytes=1000) == (2800 + 12_000, 1600 + 12_000)


def test_peaks_count_receives_in_flight():
    grid = TileGrid.cover({"w": 60}, tile=10)
    lone = plan(grid, (0, 1, 1, 1, 1, 1))
    assert lone.peaks(cell_bytes=100)[0] == (60 + 4 * 10) * 100  # five tiles come, four at a time
    few = plan(grid, (0, 0, 0, 0, 0, 1))
    assert few.peaks(cell_bytes=100)[0] == (60 + 2 * 10) * 100  # one tile comes; a blend's two copies are more


@given(grids(), st.integers(1, 6), st.integers(0, 5), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_what_is_sent_is_received_and_nothing_is_lost(grid, ranks, root, random):
    some = plan(grid, tuple(random.randrange(ranks) for _ in grid.tiles), ranks, root % ranks)
    whole, owners = prod(grid.extent.values()), some.assignment.owners
    shared = some.finish == "shares"
    assert sum(cost.sent for cost in some.costs) == sum(cost.received for cost in some.costs) == some.moved
    assert sum(some.work) == pytest.approx(grid.redundancy * whole)
    assert sum(cost.kept for cost in some.costs) == (whole if shared else sum(some.work))
    assert sum(cost.tiles for cost in some.costs) == len(grid)
    assert some.imbalance >= 1.0
    assert all(peak >= cost.kept * 8 for peak, cost in zip(some.peaks(8), some.costs, strict=True))
    if shared:
        assert some.edges == tuple(e for e in all_edges(grid) if owners[e.source] != owners[e.target])
        finished_elsewhere = sum(c.kept for c in some.costs if c.rank != some.root)
        assert some.moved == finished_elsewhere + sum(edge.cells for edge in some.edges)


def test_a_plan_is_a_value():
    grid = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)
    a, b = (TilePlan(grid, Blend.linear(), Assignment.balanced(grid, ranks=2)) for _ in range(2))
    assert a.costs
    assert a == b
    assert hash(a) == hash(b)
    assert a != TilePlan(grid, Blend.cosine(), a.assignment)
    assert pickle.loads(pickle.dumps(a)) == a
    assert pickle.loads(pickle.dumps(a)).costs == b.costs
    with pytest.raises(FrozenInstanceError):
        a.root = 1  # type: ignore[misc]


def test_a_plan_says_what_is_wrong():
    other = TileGrid.cover({"w": 60}, tile=10)
    with pytest.raises(PlanError, match=r"deals out 6 tiles, the grid has 2: make the assignment from this grid"):
        TilePlan(TWO, Blend.linear(), Assignment.balanced(other, 2))
    for root in (2, -1):
        with pytest.raises(PlanError, match=rf"root={root}: must be one of the plan's 2 ranks, 0\.\.1"):
            plan(TWO, (0, 1), root=root)


def test_what_was_derived_does_not_travel():
    grid = TileGrid.cover({"h": 100, "w": 100}, tile=8, overlap=2)
    plan = TilePlan(grid, Blend.linear(), Assignment.balanced(grid, 3))
    fresh = pickle.dumps(TilePlan(TileGrid(grid.axes, grid.rows), plan.blend, plan.assignment))
    _ = plan.costs, plan.edges, grid.seams
    assert len(pickle.dumps(plan)) == len(fresh)
    assert pickle.loads(pickle.dumps(plan)) == plan
