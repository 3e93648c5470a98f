"""Shards: parts that cover, differ by one at most, and belong to one rank each."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import PlanError
from toolkit.geometry.shard_plan import LEAST, ShardPlan, even_parts


@given(st.integers(1, 500), st.integers(1, 40))
def test_parts_cover_and_are_even(extent, count):
    parts = even_parts(extent, count)
    assert sum(parts) == extent
    assert len(parts) == count
    assert max(parts) - min(parts) <= 1
    assert list(parts) == sorted(parts, reverse=True)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(10, 60), st.integers(10, 60))
@settings(deadline=None)
def test_every_cell_belongs_to_one_rank(h, w, rows, columns):
    plan, extent = ShardPlan(h, w), {"h": rows, "w": columns}
    seen = set()
    for rank in range(plan.ranks):
        shard = plan.shard(rank, extent)
        cells = {(y, x) for y in range(*_ends(shard["h"])) for x in range(*_ends(shard["w"]))}
        assert not cells & seen
        seen |= cells
    assert len(seen) == rows * columns
    grid = plan.as_grid(extent)
    assert len(grid) == plan.ranks
    assert grid.redundancy == 1
    for rank, tile in enumerate(grid.tiles):
        assert dict(zip(("h", "w"), tile.box, strict=True)) == plan.shard(rank, extent)


def _ends(span):
    return span.start, span.stop


def test_a_plan_is_a_value():
    plan = ShardPlan(h=2, w=3, attention="ring", root=5)
    assert plan == ShardPlan(2, 3, "ring", root=5)
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert plan.ranks == 6
    assert plan.working == tuple(range(6))
    assert [tuple(plan.position(rank).values()) for rank in range(6)] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (1, 2),
    ]
    assert repr(plan) == "ShardPlan(2 x 3 shards, borders exchanged, attention in a ring)"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"h": 0}, "h=0: must be an int of at least 1"),
        ({"w": True}, "w=True: must be an int"),
        ({"h": 2.0}, "h=2.0: must be an int"),
        ({"attention": "all"}, "attention='all': must be one of gather, ring"),
        ({"borders": "zero"}, "borders='zero': must be one of exchange, recompute"),
        ({"h": 2, "root": 2}, "root=2: must be one of the plan's 2 ranks, 0..1"),
    ],
)
def test_bad_values_are_refused(values, message):
    with pytest.raises(PlanError, match=message):
        ShardPlan(**values)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_too_thin_shards_are_refused_with_what_would_do(count):
    rows = LEAST * count - 1
    with pytest.raises(PlanError, match=f"h={rows} latent cells in {count} shards: .* use h={count - 1} or fewer"):
        ShardPlan(h=count).parts({"h": rows, "w": 9})
    assert sum(ShardPlan(h=count).parts({"h": rows + 1, "w": 9})["h"]) == rows + 1
