"""Assignments: no rank starves, work is even, and the values are values."""

import pickle
from dataclasses import FrozenInstanceError
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import PlanError
from toolkit.geometry import Assignment, TileGrid

MAKERS = [Assignment.balanced, Assignment.round_robin, Assignment.contiguous]


def strip(tiles: int) -> TileGrid:
    return TileGrid.cover({"w": tiles}, tile=1)


def free(_tile) -> float:
    return 0.0


@pytest.mark.parametrize("make", [*MAKERS, lambda grid, ranks: Assignment.balanced(grid, ranks, cost=free)])
def test_no_rank_is_empty_while_tiles_remain(make):
    for tiles in range(1, 25):
        for ranks in range(1, 29):
            assignment = make(strip(tiles), ranks)
            assert len(assignment.owners) == tiles == sum(assignment.counts)
            assert len(assignment.idle) == max(0, ranks - tiles)
            assert max(assignment.counts) - min(assignment.counts) <= 1


@given(st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.5, 40.0]), min_size=1, max_size=20), st.integers(1, 12))
@settings(deadline=None)
def test_free_tiles_starve_nobody(costs, ranks):
    assignment = Assignment.balanced(strip(len(costs)), ranks, cost=lambda tile: costs[tile.index])
    assert len(assignment.idle) == max(0, ranks - len(costs))


def test_nine_tiles_over_four_ranks():
    for make in MAKERS:
        assert sorted(make(strip(9), 4).counts, reverse=True) == [3, 2, 2, 2]
    assert Assignment.contiguous(strip(9), 4).owners == (0, 0, 0, 1, 1, 2, 2, 3, 3)
    assert Assignment.round_robin(strip(9), 4).owners == (0, 1, 2, 3, 0, 1, 2, 3, 0)


def test_contiguous_runs_are_runs():
    for tiles, ranks in product(range(1, 20), range(1, 24)):
        assignment = Assignment.contiguous(strip(tiles), ranks)
        assert list(assignment.owners) == sorted(assignment.owners)
        assert list(assignment.counts) == sorted(assignment.counts, reverse=True)


def best_maximum(costs: list[int], ranks: int) -> int:
    """The least possible work of the busiest rank, by trying every assignment."""
    loads = (
        [sum(c for c, o in zip(costs, owners, strict=True) if o == rank) for rank in range(ranks)]
        for owners in product(range(ranks), repeat=len(costs))
    )
    return min(map(max, loads))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=7), st.integers(1, 3))
@settings(max_examples=80, deadline=None)
def test_balanced_is_within_graham_s_bound(costs, ranks):
    assignment = Assignment.balanced(strip(len(costs)), ranks, cost=lambda tile: costs[tile.index])
    work = [sum(costs[tile] for tile in assignment.tiles_of(rank)) for rank in range(ranks)]
    assert max(work) <= (Fraction(4, 3) - Fraction(1, 3 * ranks)) * best_maximum(costs, ranks)


def test_balanced_looks_at_cells_unless_told_otherwise():
    grid = TileGrid.strided({"w": 50}, tile=32, stride=24)  # 32, 26 and 2 cells
    assert Assignment.balanced(grid, 2).owners == (0, 1, 1)
    assert Assignment.balanced(grid, 2, cost=lambda tile: tile.index).owners == (1, 1, 0)
    assert Assignment.balanced(grid, 1).owners == (0, 0, 0)


def test_balanced_gives_equals_to_the_lowest_rank():
    assert Assignment.balanced(strip(7), 3).owners == (0, 1, 2, 0, 1, 2, 0)


@given(st.integers(1, 30), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_tiles_of_is_the_inverse_of_owners(tiles, ranks):
    assignment = Assignment.balanced(strip(tiles), ranks, cost=lambda tile: tile.index % 5)
    dealt = {index: rank for rank in range(ranks) for index in assignment.tiles_of(rank)}
    assert tuple(dealt[index] for index in range(tiles)) == assignment.owners
    assert assignment.counts == tuple(len(assignment.tiles_of(rank)) for rank in range(ranks))


def test_an_assignment_is_a_value():
    a, b = (Assignment.contiguous(strip(9), 4) for _ in range(2))
    assert a == b
    assert hash(a) == hash(b)
    assert a != Assignment.contiguous(strip(9), 3)
    assert pickle.loads(pickle.dumps(a)) == a
    assert repr(a) == "Assignment(9 tiles over 4 ranks: 3 2 2 2)"
    assert repr(Assignment.round_robin(strip(40), 20)).endswith("2 2 2 ...)")
    with pytest.raises(FrozenInstanceError):
        a.ranks = 3  # type: ignore[misc]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("ranks", [0, -1, 2.0, True, None])
def test_ranks_must_be_a_count(make, ranks):
    with pytest.raises(PlanError) as error:
        make(strip(4), ranks)
    assert f"ranks={ranks!r}: must be an int of at least 1" in str(error.value)
    assert make(strip(4), 1).counts == (4,)


@pytest.mark.parametrize(("wrong", "said"), [(float("nan"), "cost gave nan"), (-2.0, "cost gave -2.0")])
def test_costs_must_be_costs(wrong, said):
    with pytest.raises(PlanError) as error:
        Assignment.balanced(strip(4), 2, cost=lambda tile: wrong if tile.index == 2 else 1.0)
    assert said in str(error.value)
    assert "at least 0" in str(error.value)


@pytest.mark.parametrize(
    ("owners", "ranks", "said"),
    [
        ((), 2, "owners is empty"),
        ((0, 7), 2, "owners 0..7 must lie in 0..1"),
        ((-1, 0), 2, "owners -1..0 must lie in 0..1"),
        ((0, 1), 0, "ranks=0"),
    ],
)
def test_owners_must_be_ranks(owners, ranks, said):
    with pytest.raises(PlanError) as error:
        Assignment(owners, ranks)
    assert said in str(error.value)
    assert Assignment((0, 1), 2).counts == (1, 1)


@pytest.mark.parametrize(
    ("owners", "ranks", "words"),
    [
        ((0, 1.5), 2, "must be a tuple of ints"),
        ([0, 1], 2, "must be a tuple of ints"),
        ((0, True), 2, "must be a tuple of ints"),
        ((0, 1), 2.0, "ranks=2.0: must be an int of at least 1"),
        ((0, 1), True, "ranks=True: must be an int of at least 1"),
    ],
)
def test_the_fields_of_an_assignment_are_ints(owners, ranks, words):
    with pytest.raises(PlanError, match=words):
        Assignment(owners, ranks)
