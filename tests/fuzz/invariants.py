"""What must hold of the answers, whatever the question: each check takes the answer and the arguments."""

from __future__ import annotations

from itertools import pairwise
from math import isfinite, prod
from typing import Any

from toolkit.geometry import Assignment, Schedule, ShardPlan, Span, StagePlan, StageSplit, TileGrid, Topology
from toolkit.geometry.bands import bands
from toolkit.geometry.edges import all_edges
from toolkit.geometry.schedule_table import read_table
from toolkit.geometry.tile_plan import TilePlan

CHECKED = 3000
"""Most tiles or actions that are looked at one by one."""


def any_answer(answer: Any, /, **_: Any) -> None:
    """Answers of which nothing more is known have a text."""
    assert isinstance(repr(answer), str)


def row(spans: tuple[Span, ...], /, *, extent: int, tile: int, **_: Any) -> None:
    """Spans cover the extent in order."""
    assert (spans[0].start, spans[-1].stop) == (0, extent)
    assert all(0 < len(span) <= tile for span in spans)
    assert all(a.start < b.start <= a.stop <= b.stop for a, b in pairwise(spans))


def grid(made: TileGrid, /, **_: Any) -> None:
    """Cores and shares divide the extent, and tiles contain theirs; seams and edges are inside two tiles."""
    if len(made) > CHECKED:
        return
    cells = prod(made.extent.values())
    assert sum(tile.share_cells for tile in made.tiles) == cells
    assert sum(prod(map(len, tile.core_box)) for tile in made.tiles) == cells
    for tile in made.tiles:
        parts = zip(tile.box, tile.core_box, tile.share_box, strict=True)
        assert all(core in span and (share in span) for span, core, share in parts)
        assert made.index(tile.position) == tile.index
    for seam in made.seams:
        assert all(seam.span in made.tiles[index].spans[seam.axis] for index in seam.tiles)
    for edge in all_edges(made):
        assert all(cut in span for cut, span in zip(edge.box, made.tiles[edge.source].box, strict=True))
    assert sum(prod(map(len, band.box)) for band in bands(made)) == cells
    assert made._repr_html_()


def assignment(made: Assignment, /, **_: Any) -> None:
    """Every tile is on one rank."""
    assert sum(made.counts) == len(made.owners)
    if made.ranks <= 50:
        every = sorted(index for rank in range(made.ranks) for index in made.tiles_of(rank))
        assert every == list(range(len(made.owners)))
    assert len(made.idle) == made.counts.count(0)


def tile_plan(plan: TilePlan, /, **_: Any) -> None:
    """What is sent is received; work adds up."""
    assert sum(cost.sent for cost in plan.costs) == sum(cost.received for cost in plan.costs)
    assert sum(plan.work) == sum(tile.cells for tile in plan.grid.tiles)
    assert sum(plan.units) == len(plan.grid)
    assert plan.root in plan.working
    assert plan._repr_html_()


def peaks(found: Any, /, **_: Any) -> None:
    """Bytes are not negative."""
    assert min(found if isinstance(found, tuple) else (found,)) >= 0


def shards(found: dict[str, tuple[int, ...]], /, *, extent: dict[str, int], **_: Any) -> None:
    """Parts add up and differ by one at most."""
    for axis, parts in found.items():
        assert sum(parts) == extent[axis]
        assert max(parts) - min(parts) <= 1


def shard(found: dict[str, Span], /, *, extent: dict[str, int], **_: Any) -> None:
    """A shard is inside the extent."""
    assert all(span in Span(0, extent[axis]) and len(span) for axis, span in found.items())


def shard_plan(plan: ShardPlan, /, **_: Any) -> None:
    """A rank for each part."""
    assert plan.ranks == plan.h * plan.w
    assert sorted(plan.part_owners) == list(plan.working)
    assert all(plan.rank_at(**plan.position(rank)) == rank for rank in plan.working)
    assert plan.root in plan.working


def topology(made: Topology, /, **_: Any) -> None:
    """Every rank is on one host, and hosts ascend."""
    hosts = [made.host_of(rank) for rank in range(min(made.ranks, CHECKED))]
    assert hosts == sorted(hosts)
    assert made.ranks > CHECKED or set(hosts) == set(range(made.hosts))


def split(made: StageSplit, /, **_: Any) -> None:
    """Every layer is in one stage, and none is empty."""
    assert sum(made.counts) == made.layers
    assert min(made.counts) >= 1
    if made.layers <= CHECKED:
        assert all(layer in made.stages[made.owner(layer)] for layer in range(made.layers))
        assert made._repr_html_()


def schedule(made: Schedule, /, **_: Any) -> None:
    """Every action comes once, on its rank, and after what it waits for."""
    actions = made.depth * made.branches * made.in_flight
    if actions > CHECKED:
        return
    timed = made.timeline([1] * made.depth)
    assert sorted(one.action for one in timed) == sorted(set(made.actions))
    assert len(timed) == actions
    ends = {(one.action.chunk, one.action.branch): one.stop for one in timed}
    for one in timed:
        assert one.rank == made.rank_of(one.action.chunk)
        assert one.start >= ends.get((one.action.chunk - 1, one.action.branch), 0)
    for rank in range(made.ranks):
        own = [one for one in timed if one.rank == rank]
        assert all(a.stop <= b.start for a, b in pairwise(own))
    assert 0 < made.utilisation <= 1
    if made.ranks <= 64 and len(made.table[0]) <= 256:
        assert read_table(str(made)) == made.table


def duration(time: Any, /, **_: Any) -> None:
    """Times are finite and not negative."""
    assert isfinite(time)
    assert time >= 0


def stage_plan(plan: StagePlan, /, **_: Any) -> None:
    """Every layer is on as many ranks as there are groups and parts of stages."""
    if plan.ranks * len(plan.split) > CHECKED:
        return
    held = sum(len(span) for rank in plan.working for span in plan.layers_of(rank))
    assert held == plan.split.layers * plan.experts * plan.cfg * plan.sp * plan.tp
    assert {plan.expert_of(rank) for rank in plan.working} == set(range(plan.experts))
    assert plan._repr_html_()


def merged(answer: Any, /, **_: Any) -> None:
    """Tiles of ones blend to ones: the weights of a blend are a partition of unity."""
    assert abs(answer - 1).max() < 1e-6
