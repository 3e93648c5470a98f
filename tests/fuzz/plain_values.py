"""Strategies of plans and of arguments that are mostly right."""

from __future__ import annotations

from hypothesis import strategies as st
from support.odd_values import by_axis, mostly, odd, several, sizes

import toolkit as tk

GRIDS = st.builds(
    lambda h, w, tile, overlap: tk.TileGrid.cover({"h": h, "w": w}, tile, min(overlap, tile - 1)),
    *(st.integers(1, 24), st.integers(1, 24), st.integers(2, 9), st.integers(0, 5)),
)
PLANS = st.builds(
    lambda grid, ranks: tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, ranks)),
    *(GRIDS, st.integers(1, 5)),
)
SHARDS = st.builds(tk.ShardPlan, st.integers(1, 4), st.integers(1, 4))
SPLITS = st.builds(lambda stages, more: tk.StageSplit.even(stages + more, stages), st.integers(1, 6), st.integers(0, 9))
SCHEDULES = st.builds(tk.Schedule, *(st.integers(1, most) for most in (4, 3, 3, 3)))
STAGES = st.builds(
    lambda schedule, more, cfg: tk.StagePlan(tk.StageSplit.even(schedule.depth + more, schedule.depth), schedule, cfg),
    *(SCHEDULES, st.integers(0, 9), st.integers(1, 2)),
)
LINKS = st.builds(tk.Link, st.floats(1e3, 1e12), st.floats(0, 1))
TOPOLOGIES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(lambda per: tk.Topology(len(per), tuple(per)))
EXTENT = by_axis(sizes(1, 60))
RANKS = st.integers(0, 8) | st.sampled_from([1.5, "a", True, None])
NO_FUNCTION = odd().filter(lambda value: not callable(value))
ACTIONS = st.from_regex(r"[0-9]{1,3}F[0-9]{0,3}") | st.text(max_size=6)
SPACES = mostly(st.dictionaries(st.sampled_from("ab"), several(sizes()), max_size=2))
SHAPE = mostly(st.tuples(st.just(1), st.just(16), sizes(1, 24), sizes(1, 24)))
RANK, COUNT = sizes(0, 12), sizes(1, 9)
BLOCK = st.none() | several(sizes(1, 4), 2)
WORD = mostly(st.sampled_from(["linear", "cosine", "crop", "window", "gather", "ring", "exchange", "recompute"]))
