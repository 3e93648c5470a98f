"""Runs for replay whose every state is known, and rehearsals with times."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pandas as pd

import toolkit as tk
from toolkit.geometry import Assignment, Blend, Plan, ShardPlan, TileGrid, TilePlan
from toolkit.models import demo
from toolkit.runs.record import Record
from toolkit.runs.run import Run
from toolkit.runs.run_tables import trace_table
from toolkit.runs.trace import Event, Kind, Label

GRID = TileGrid.cover({"w": 12}, tile=6, overlap=3)
"""Three tiles in a row: 0:6, 3:9, 6:12."""

TILES = TilePlan(GRID, Blend.linear(), Assignment((0, 1, 0), 2))
EDGE = Label(tile=0, purpose="edge", text="to tile 1")
SHARE = Label(tile=1, purpose="share")
HALO = Label(purpose="halo h", module="conv_in")

TILE_EVENTS = (
    Event(0, Kind.DECODE, Label(tile=0), 0.0, 1.0),
    Event(0, Kind.SEND, EDGE, 1.0, 1.5, 100, 1),
    Event(0, Kind.DECODE, Label(tile=2), 1.5, 3.0),
    Event(1, Kind.DECODE, Label(tile=1), 0.5, 1.5),
    Event(1, Kind.WAIT, EDGE, 1.5, 2.0, 0, 0),
    Event(1, Kind.RECEIVE, EDGE, 2.0, 2.5, 100, 0),
    Event(1, Kind.BLEND, Label(tile=1), 2.5, 3.0),
    Event(1, Kind.SEND, SHARE, 3.0, 3.25, 300, 0),
    Event(0, Kind.WAIT, SHARE, 3.0, 3.5, 0, 1),
    Event(0, Kind.RECEIVE, SHARE, 3.5, 4.0, 300, 1),
)
"""Rank 0 computes the tiles 0 and 2, rank 1 the tile between them, which needs an edge of tile 0."""

SHARD_EVENTS = (
    Event(0, Kind.SHARD, Label(), 0.0, 1.0),
    Event(0, Kind.SEND, HALO, 1.0, 1.25, 64, 1),
    Event(0, Kind.WAIT, HALO, 1.25, 2.5, 0, 1),
    Event(0, Kind.RECEIVE, HALO, 2.5, 2.75, 64, 1),
    Event(0, Kind.SHARD, Label(tile=0, purpose="shard"), 2.75, 4.0),
    Event(1, Kind.SHARD, Label(), 0.0, 2.0),
    Event(1, Kind.SEND, HALO, 2.0, 2.25, 64, 0),
    Event(1, Kind.RECEIVE, HALO, 2.25, 2.5, 64, 0),
    Event(1, Kind.SHARD, Label(tile=1, purpose="shard"), 2.5, 3.5),
)
"""Two shards that exchange a halo; rank 1 is slower before it."""

MEMORY = pd.DataFrame(
    [(0, 0.25, 1_000_000), (0, 2.0, 5_000_000), (0, 3.0, 2_000_000), (1, 0.5, 3_000_000), (1, 2.75, 4_000_000)],
    columns=["rank", "time", "bytes"],
)


def run_of(plan: Plan | None, events: tuple[Event, ...] | list[Event], memory: pd.DataFrame = MEMORY) -> Run:
    record = Record("", {}, {}, "", {}, 0, {}, {}, {})
    return Run(None, trace_table(events), memory, pd.Series(dtype=float), record, plan, 4.0)


def tile_run(memory: pd.DataFrame = MEMORY) -> Run:
    return run_of(TILES, TILE_EVENTS, memory)


def shard_run() -> Run:
    return run_of(ShardPlan(h=2), SHARD_EVENTS)


@cache
def rehearsed(h: int, w: int, extent: int) -> tk.Rehearsal:
    """Shards of a small model, with times."""
    speed = tk.Profile.assume(operations=1e12, bandwidth=1e11)
    return tk.rehearse(demo.image_vae().to("meta"), (1, 16, extent, extent), ShardPlan(h=h, w=w), profile=speed)


def many_tiles(
    side: int = 32, ranks: int = 16, deal: Callable[[TileGrid, int], Assignment] = Assignment.balanced
) -> Run:
    """A run of ``side * side`` tiles, of which each rank computes one after the other and sends it to rank 0."""
    grid = TileGrid.cover({"h": 6 * side + 2, "w": 6 * side + 2}, tile=8, overlap=2)
    assert len(grid) == side * side
    plan = TilePlan(grid, Blend.linear(), deal(grid, ranks))
    events, memory = list[Event](), []
    for rank in range(ranks):
        now = 0.001 * rank
        for place, tile in enumerate(plan.assignment.tiles_of(rank)):
            events.append(Event(rank, Kind.DECODE, Label(tile=tile), now, now + 0.01))
            memory += [(rank, now + 0.002, 10**8 + 10**6 * place), (rank, now + 0.009, 10**6 * place)]
            now += 0.01
            if rank:
                share = Label(tile=tile, purpose="share")
                events.append(Event(rank, Kind.SEND, share, now, now + 0.001, 10**6, 0))
                events.append(Event(0, Kind.RECEIVE, share, now + 0.002, now + 0.003, 10**6, rank))
                now += 0.001
    return run_of(plan, events, pd.DataFrame(memory, columns=["rank", "time", "bytes"]))
