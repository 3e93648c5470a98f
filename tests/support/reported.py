"""Runs made up for reports: their times, memory and records are given, so that tables can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from toolkit.geometry import Assignment, Blend, ShardPlan, TileGrid, TilePlan
from toolkit.geometry.plan import or_whole
from toolkit.runs.record import Record
from toolkit.runs.run import PART_OF, Run
from toolkit.runs.run_tables import trace_table
from toolkit.runs.trace import Event, Kind, Label

SHAPE = (1, 3, 5, 48, 80)
GRID = TileGrid.cover({"h": 12, "w": 20}, tile=8, overlap=2)
TILES = TilePlan(GRID, Blend.linear(), Assignment.balanced(GRID, 2))
SHARDS = ShardPlan(h=2)

RECORD = Record(
    when="2026-01-01T00:00:00+00:00",
    what={"device": "cpu", "backend": "gloo", "threads": 1, "convolutions": "onednn", "call": "decode"},
    model={"class": "Autoencoder", "parameters": 1234567, "dtype": "torch.float32", "config_sha256": "c0ffee"},
    plan="None",
    input={"shape": [1, 4, 2, 12, 20], "dtype": "torch.float32", "sha256": "a" * 64},
    seed=0,
    versions={"torch": "2.13.0", "diffusers": "0.42.1", "toolkit": "0.1.0"},
    machine={"system": "Linux x86_64", "cpu": "a processor", "cores": 2},
    git={"commit": "0123456789abcdef", "dirty": False},
)


def video(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.3


def reported(
    output: Tensor | None,
    plan: TilePlan | ShardPlan | None = None,
    seconds: float = 4.0,
    peak: int = 200_000_000,
    record: Record = RECORD,
    **changes: object,
) -> Run:
    """A run whose ranks compute up to 0.5 s before its end, and hold most in the middle of it."""
    events, points = list[Event](), []
    for rank in range(plan.ranks if plan else 1):
        kind = PART_OF[or_whole(plan).kind]
        events.append(Event(rank, kind, Label(tile=rank), 0.0, seconds - 0.5))
        if plan:
            to, edge = (rank + 1) % plan.ranks, Label(tile=rank, purpose="edge")
            events.append(Event(rank, Kind.SEND, edge, seconds - 0.5, seconds - 0.25, 3_000_000, to))
        points += [(rank, 0.0, 0), (rank, seconds / 2, peak - rank), (rank, seconds - 0.1, 1000)]
    memory = pd.DataFrame(points, columns=["rank", "time", "bytes"])
    run = Run(
        kept=output,
        trace=trace_table(events),
        memory=memory,
        peaks=memory.groupby("rank")["bytes"].max(),
        record=record,
        plan=plan,
        seconds=seconds,
    )
    return replace(run, **changes)


def changed(part: str, **entries: object) -> Record:
    """The record with other entries in one of its parts."""
    return replace(RECORD, **{part: {**getattr(RECORD, part), **entries}})
