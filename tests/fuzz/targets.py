"""The functions that are fuzzed: each with strategies of its arguments and what must hold of its answers."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from fuzz import invariants as holds
from fuzz.plain_values import (
    BLOCK,
    COUNT,
    EXTENT,
    GRIDS,
    LINKS,
    NO_FUNCTION,
    PLANS,
    RANK,
    RANKS,
    SCHEDULES,
    SHAPE,
    SHARDS,
    SPACES,
    STAGES,
    TOPOLOGIES,
    WORD,
)
from fuzz.stage_targets import STEPS
from fuzz.target import Target
from geometry.grids import rows
from hypothesis import strategies as st
from support.odd_values import by_axis, mostly, numbers, odd, several, sizes

import toolkit as tk
from toolkit import plot
from toolkit.geometry.span import cover_axis, strided_axis
from toolkit.models import demo
from toolkit.numerics.window import merge
from toolkit.planning.rehearsing.profile import Profile
from toolkit.sweeps.points import points_of


@cache
def _meta() -> Any:
    """A model without weights."""
    return demo.image_vae().to("meta")


def _blended(grid: tk.TileGrid, ramp: Any) -> torch.Tensor:
    tiles = [torch.ones(1, 1, *map(len, tile.box)) for tile in grid.tiles]
    return merge(tiles, grid, ramp=tk.Blend(ramp).ramp)


def _rehearsed(shape: Any, plan: Any) -> Any:
    return tk.rehearse(_meta(), shape, plan)


def _chosen(shape: Any, ranks: Any, memory: Any) -> Any:
    profile = Profile.assume(operations=1e10, bandwidth=1e10)
    return tk.plan(_meta(), shape, ranks, memory, profile=profile, progress=False)


SPANS = st.builds(tk.Span, st.integers(0, 5), st.integers(5, 9))
GEOMETRY = {
    "Span": Target(tk.Span, {"start": sizes(), "stop": sizes()}),
    "Span.inside": Target(lambda outer: tk.Span(2, 4).inside(outer), {"outer": odd()}),
    "cover_axis": Target(cover_axis, {"extent": sizes(1, 99), "tile": sizes(1), "overlap": sizes()}, holds.row),
    "strided_axis": Target(strided_axis, {"extent": sizes(1, 99), "tile": sizes(1), "stride": sizes(1)}, holds.row),
    "TileGrid": Target(
        tk.TileGrid,
        {
            "axes": mostly(st.sampled_from([("w",), ("h", "w"), ("w", "h"), ("w", "w")])),
            "rows": st.tuples(rows()) | st.tuples(rows(), rows()) | several(several(SPANS, most=3), most=2),
        },
        holds.grid,
    ),
    "TileGrid.cover": Target(
        tk.TileGrid.cover,
        {"extent": EXTENT, "tile": sizes(1, 30) | EXTENT, "overlap": sizes(0, 9) | by_axis(sizes(0, 9))},
        holds.grid,
        3,
    ),
    "TileGrid.strided": Target(
        tk.TileGrid.strided, {"extent": EXTENT, "tile": sizes(4, 30) | EXTENT, "stride": sizes(1, 20)}, holds.grid, 2
    ),
    "TileGrid.index": Target(lambda grid, at: grid.index(at), {"grid": GRIDS, "at": several(RANK, 2)}),
    "Assignment": Target(tk.Assignment, {"owners": several(sizes(0, 3)), "ranks": COUNT}, holds.assignment),
    "Assignment.balanced": Target(
        tk.Assignment.balanced,
        {
            "grid": mostly(GRIDS),
            "ranks": COUNT,
            "cost": st.none() | numbers().map(lambda one: lambda _: one) | NO_FUNCTION,
            "topology": st.none() | mostly(TOPOLOGIES),
        },
        holds.assignment,
    ),
    "Assignment.round_robin": Target(
        tk.Assignment.round_robin, {"grid": mostly(GRIDS), "ranks": COUNT}, holds.assignment
    ),
    "Assignment.contiguous": Target(
        tk.Assignment.contiguous, {"grid": mostly(GRIDS), "ranks": COUNT}, holds.assignment
    ),
    "Blend": Target(tk.Blend, {"ramp": WORD, "merge": WORD}),
    "blended ones": Target(_blended, {"grid": GRIDS, "ramp": WORD}, holds.merged),
    "TilePlan": Target(
        lambda plan, grid, blend, root: tk.TilePlan(plan.grid if grid is None else grid, blend, plan.assignment, root),
        {"plan": PLANS, "grid": st.none() | mostly(GRIDS), "blend": mostly(st.just(tk.Blend())), "root": sizes(0, 4)},
        holds.tile_plan,
    ),
    "TilePlan.peaks": Target(
        lambda plan, cell, work: plan.peaks(cell, work),
        {"plan": PLANS, "cell": sizes(0, 999), "work": sizes(0, 999)},
        holds.peaks,
    ),
    "TilePlan.bytes_moved": Target(
        lambda plan, cell: plan.bytes_moved(cell), {"plan": PLANS, "cell": sizes()}, holds.peaks
    ),
    "ShardPlan": Target(
        tk.ShardPlan,
        {"h": COUNT, "w": COUNT, "attention": WORD, "borders": WORD, "root": RANK, "block": BLOCK},
        holds.shard_plan,
    ),
    "ShardPlan.over": Target(tk.ShardPlan.over, {"topology": mostly(TOPOLOGIES), "extent": EXTENT}, holds.shard_plan),
    "ShardPlan.on": Target(
        lambda one, topology, extent: one.on(topology, extent),
        {"one": SHARDS, "topology": mostly(TOPOLOGIES), "extent": EXTENT},
        holds.shard_plan,
    ),
    "ShardPlan.border_cells": Target(
        lambda one, extent, topology: one.border_cells(extent, topology),
        {"one": SHARDS, "extent": EXTENT, "topology": mostly(TOPOLOGIES)},
        holds.peaks,
    ),
    "ShardPlan.rank_at": Target(lambda one, h, w: one.rank_at(h, w), {"one": SHARDS, "h": RANK, "w": RANK}),
    "ShardPlan.parts": Target(lambda one, extent: one.parts(extent), {"one": SHARDS, "extent": EXTENT}, holds.shards),
    "ShardPlan.shard": Target(
        lambda plan, rank, extent: plan.shard(rank, extent),
        {"plan": SHARDS, "rank": RANK, "extent": EXTENT},
        holds.shard,
    ),
    "ShardPlan.as_grid": Target(lambda one, extent: one.as_grid(extent), {"one": SHARDS, "extent": EXTENT}, holds.grid),
    "Link": Target(tk.Link, {"bandwidth": numbers(), "latency": numbers()}),
    "Link.seconds": Target(lambda link, size: link.seconds(size), {"link": LINKS, "size": sizes()}, holds.duration),
    "Topology": Target(
        tk.Topology,
        {"hosts": COUNT, "per_host": COUNT | several(COUNT, 3), "within": mostly(LINKS), "between": mostly(LINKS)},
        holds.topology,
    ),
    "Topology.of_hosts": Target(
        tk.Topology.of_hosts,
        {"hosts": several(mostly(st.sampled_from("ab")), 5), "within": mostly(LINKS), "between": mostly(LINKS)},
        holds.topology,
    ),
    "StagePlan.require_hosts": Target(
        lambda plan, hosts: plan.require_hosts(hosts),
        {"plan": STAGES, "hosts": several(mostly(st.sampled_from("ab")), 5)},
    ),
    "Topology.link": Target(lambda one, a, b: one.link(a, b), {"one": TOPOLOGIES, "a": RANK, "b": RANK}),
}
SURFACE = {
    "Options": Target(
        tk.Options,
        {
            "seed": sizes(),
            "norm_passes": sizes(),
            "arguments": mostly(st.just({})),
            **dict.fromkeys(("autocast", "recipe", "rules"), mostly(st.none())),
        },
    ),
    "fit_memory": Target(tk.fit_memory, {"measured": mostly(st.dictionaries(RANKS, numbers(), max_size=4))}),
    "points_of": Target(points_of, {"space": SPACES}),
    "search": Target(
        lambda **given: tk.search(**given).total,
        {
            "space": SPACES,
            "points": sizes(1),
            "objective": mostly(st.just("psnr")),
            "direction": mostly(st.sampled_from(["minimize", "maximize"])),
            "seed": sizes(),
        },
    ),
    "Profile.assume": Target(Profile.assume, {"operations": numbers(), "bandwidth": numbers()}),
    "diffusers_grid": Target(lambda shape: tk.diffusers_grid(_meta(), shape), {"shape": SHAPE}, holds.grid),
    "rehearse": Target(_rehearsed, {"shape": SHAPE, "plan": st.none() | mostly(SHARDS)}, weight=0.2),
    "plan": Target(_chosen, {"shape": SHAPE, "ranks": sizes(1, 2), "memory": st.none() | numbers()}, weight=0.1),
    "plot.schedule": Target(
        plot.schedule,
        {
            "what": mostly(SCHEDULES | STAGES),
            "costs": st.none() | several(numbers(), 12),
            "hop": numbers(),
            "steps": sizes(1, 4),
            "theme": mostly(st.just("neutral")),
        },
        weight=0.3,
    ),
    "plot.ranks": Target(
        plot.ranks, {"plan": mostly(PLANS), "show": mostly(st.sampled_from(["owner", "cost", "time"]))}, weight=0.3
    ),
    "plot.communication": Target(
        plot.communication, {"what": mostly(PLANS | SHARDS), "cell_bytes": st.none() | sizes()}, weight=0.3
    ),
}
TARGETS = GEOMETRY | STEPS | SURFACE
