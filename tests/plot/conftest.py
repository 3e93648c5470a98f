"""Stand-ins for runs, with awkward numbers of ranks and tiles."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
import torch
from support.plotted_sweeps import measure

import toolkit as tk
from toolkit.geometry import Assignment, Blend, ShardPlan, TileGrid, TilePlan
from toolkit.runs.record import Record
from toolkit.runs.run import Run
from toolkit.runs.run_tables import trace_table
from toolkit.runs.trace import Event, Kind, Label


def balanced(grid: TileGrid, ranks: int) -> TilePlan:
    return TilePlan(grid, Blend.linear(), Assignment.balanced(grid, ranks))


def make_run(plan: TilePlan | None, events: bool = True) -> Run:
    """A run whose numbers follow from its plan alone."""
    rows, points = list[Event](), []
    for rank in range(plan.ranks) if plan and events else ():
        now, held = 0.01 * rank, 0
        after, before = (rank + 1) % plan.ranks, (rank - 1) % plan.ranks
        for index in plan.assignment.tiles_of(rank):
            edge = Label(tile=index, purpose="edge", text=f"to tile {index + 1}")
            rows.append(Event(rank, Kind.DECODE, Label(tile=index), now, now + 0.1))
            rows.append(Event(rank, Kind.SEND, edge, now + 0.08, now + 0.1, 200_000, after))
            points += [(rank, now + 0.05, held + 200_000_000), (rank, now + 0.1, held + 3_000_000)]
            now, held = now + 0.1, held + 3_000_000
        edges = Label(text="edges")
        rows.append(Event(rank, Kind.WAIT, edges, now, now + 0.05))
        rows.append(Event(rank, Kind.RECEIVE, edges, now + 0.05, now + 0.06, 400_000, before))
        rows.append(Event(rank, Kind.BLEND, Label(text="shares"), now + 0.06, now + 0.09))
    memory = pd.DataFrame(points, columns=["rank", "time", "bytes"])
    peaks = memory.groupby("rank")["bytes"].max() + 12_345_678 if points else pd.Series(dtype=float)
    record = Record("", {}, {}, "", {}, 0, {}, {}, {})
    return Run(torch.zeros(1), trace_table(rows), memory, peaks, record, plan, 1.0)


def sharded_run(
    plan: ShardPlan,
    trace: pd.DataFrame | None = None,
    call: str | None = "decode",
    shape: tuple[int, ...] = (1, 4, 8, 8),
) -> Run:
    """A run in shards with the given trace."""
    trace = trace_table([]) if trace is None else trace
    record = Record("", {"call": call}, {}, "", {"shape": list(shape)}, 0, {}, {}, {})
    empty = pd.DataFrame(columns=["rank", "time", "bytes"])
    ratio = {"h": 8, "w": 8}
    return Run(torch.zeros(1), trace, empty, pd.Series(dtype=float), record, plan, 1.0, ratio)


@pytest.fixture
def sharded() -> Callable[..., Run]:
    return sharded_run


@pytest.fixture
def run() -> Run:
    return make_run(balanced(TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8), 3))


@pytest.fixture(scope="module")
def module_run() -> Run:
    """As ``run``, for fixtures that are made once per file."""
    return make_run(balanced(TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8), 3))


@pytest.fixture
def runs() -> Callable[..., Run]:
    return make_run


@pytest.fixture(scope="session")
def large() -> Run:
    """2000 tiles on 64 ranks."""
    grid = TileGrid.cover({"h": 400, "w": 500}, tile=14, overlap=4)
    assert len(grid) == 2000
    return make_run(balanced(grid, 64))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    space = {"tile": [8, 16, 24], "overlap": [0, 2, 8], "blend": [Blend.linear(), Blend.cosine()]}
    return tk.sweep(measure, space, progress=False)
