"""The parts that a run computes one by one (tiles, shards, stages), and which events and messages belong to each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.analysis.part_sheet import Sheet, latent_extent, sheet_of_grid, sheet_of_layers
from toolkit.geometry.plan import Plan, PlanKind
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.span import Span
from toolkit.geometry.stage_plan import StagePlan
from toolkit.runs.run import Run
from toolkit.runs.trace import COMPUTING, NONE, Kind

Places = npt.NDArray[np.int64]

ROWS_OF_A_SHARD = 8
"""Height and width of a shard on the map of a run that does not say how large its latent was."""


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The parts of a run.

    Attributes:
        noun: What one part is called: ``tile``, ``shard``, ``stage`` or ``call``.
        names: The name of each part.
        owners: The rank of each part.
        sheet: Where the parts lie on a map.
        of_event: The part that each row of the trace computes; -1 for none.
        of_message: The part that each message belongs to; -1 for none.
    """

    noun: str
    names: tuple[str, ...]
    owners: Places
    sheet: Sheet
    of_event: Places
    of_message: Places


def parts_of(run: Run, flights: pd.DataFrame) -> Parts:
    """The parts of a run, by its plan.

    A message belongs to the tile that it comes from. Between shards, and wherever no tile is named, it belongs to the
    shard that receives it, because that one may have to wait for it. A stage's message is what it has computed.

    Args:
        run: A run, or a rehearsal.
        flights: Its messages, as :func:`toolkit.analysis.flights.flights_of` returns them.

    Example:
        >>> from toolkit.analysis.flights import flights_of
        >>> from toolkit.planning.rehearsing.rehearse import rehearse
        >>> from toolkit.models import demo
        >>> run = rehearse(demo.image_vae().to("meta"), (1, 16, 8, 8), ShardPlan(h=2))
        >>> parts_of(run, flights_of(run.trace)).names
        ('shard 0', 'shard 1')
    """
    trace = run.trace
    if run.way.kind is PlanKind.STAGES:
        return _stages(run, flights)
    computing = trace["kind"].isin([kind.value for kind in COMPUTING]).to_numpy()
    tiles, ranks = trace["tile"].to_numpy(np.int64), trace["rank"].to_numpy(np.int64)
    if run.way.kind is PlanKind.TILES:
        grid = run.way.seam_grid
        assert grid is not None
        owners, named = np.array(run.way.part_owners, np.int64), (tiles >= 0) & (tiles < len(grid))
        sent = flights["tile"].to_numpy(np.int64)
        return Parts(
            "tile",
            tuple(f"tile {tile.index}" for tile in grid.tiles),
            owners,
            sheet_of_grid(grid),
            np.where(computing & named, tiles, NONE),
            np.where(sent < len(grid), sent, NONE),
        )
    shards = run.way.kind is PlanKind.SHARDS
    owners = np.array(run.way.part_owners if shards else [0], np.int64)
    of_rank = _places(owners, max([*ranks, *owners, *flights["receiver"]], default=0))
    # The message that takes a shard's result to the root is named after the shard's rank.
    which = flights["receiver"].where(flights["tile"] == NONE, flights["tile"]).to_numpy(np.int64)
    return Parts(
        "shard" if shards else "call",
        tuple(f"shard {rank}" for rank in owners) if shards else ("the whole call",),
        owners,
        _shard_sheet(run) if shards else Sheet((0, 8), (0, 1), np.zeros((1, 1), np.int64), ("", "")),
        np.where(computing, of_rank[ranks], NONE),
        of_rank[np.clip(which, 0, len(of_rank) - 1)],
    )


def _places(owners: Places, most: int) -> Places:
    """The part of each rank; -1 for ranks without one."""
    found = np.full(int(most) + 1, NONE, np.int64)
    found[owners] = np.arange(len(owners))
    return found


def _shard_sheet(run: Run) -> Sheet:
    plan = run.way
    assert isinstance(plan, ShardPlan)
    extent = latent_extent(run)
    grid = plan.part_grid(extent or {axis: ROWS_OF_A_SHARD * parts for axis, parts in plan.divisions.items()})
    sheet = sheet_of_grid(grid)
    if extent is not None:
        return sheet
    return Sheet(sheet.x, sheet.y, sheet.cells, ("w (not to scale)", "h (not to scale)"))


def _stages(run: Run, flights: pd.DataFrame) -> Parts:
    """One part for each chunk of layers on each rank that computed it."""
    trace, keys = run.trace, ["expert", "rank", "chunk"]
    stage = (trace["kind"] == Kind.STAGE.value).to_numpy()
    found = trace.loc[stage, keys].drop_duplicates().sort_values(keys, ignore_index=True)
    places = {(expert, rank, chunk): part for part, (expert, rank, chunk) in enumerate(found.itertuples(index=False))}
    spans = [_layers(run, expert)[chunk] for expert, _, chunk in places]
    lines = list(dict.fromkeys((expert, rank) for expert, rank, _ in places))
    several = len({expert for expert, _ in lines}) > 1
    rows = [f"{expert}, rank {rank}" if several else f"rank {rank}" for expert, rank in lines]
    at = [lines.index((expert, rank)) for expert, rank, _ in places]
    last = found.groupby("expert")["chunk"].max().to_dict()
    # The last stage's result is sent without a chunk: see Label.chunk.
    sent = (
        (expert, sender, last.get(expert, NONE) if chunk == NONE else chunk)
        for expert, sender, chunk in zip(flights["expert"], flights["sender"], flights["chunk"], strict=True)
    )
    branches = flights["branch"].to_numpy(np.int64)
    of_message = np.fromiter((places.get(key, NONE) for key in sent), np.int64, len(flights))
    events = zip(*(trace[key] for key in keys), strict=True)
    of_event = np.fromiter((places.get(key, NONE) for key in events), np.int64, len(trace))
    return Parts(
        "stage",
        tuple(
            f"stage {chunk}{expert and f' of {expert}'}, layers {span}"
            for (expert, _, chunk), span in zip(places, spans, strict=True)
        ),
        np.array([rank for _, rank, _ in places], np.int64),
        sheet_of_layers(rows, list(zip(at, spans, strict=True))),
        np.where(stage, of_event, NONE),
        np.where(branches == NONE, NONE, of_message),
    )


def _layers(run: Run, expert: str) -> tuple[Span, ...]:
    """The layers of each chunk of a transformer."""
    plan: Plan = run.plans.get(expert, run.way)
    assert isinstance(plan, StagePlan)
    return plan.split.stages
