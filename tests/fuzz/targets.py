"""The functions that are fuzzed: each with strategies of its arguments and what must hold of its answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from fuzz import invariants as holds
from hypothesis import strategies as st
from support.odd_values import by_axis, mostly, numbers, odd, several, sizes

import toolkit as tk
from toolkit import plot
from toolkit.geometry.schedule_table import Action, read_table
from toolkit.geometry.span import cover_axis, strided_axis
from toolkit.geometry.stage_loop import loop_time
from toolkit.models import demo
from toolkit.numerics.window import merge
from toolkit.planning.rehearsing.profile import Profile
from toolkit.sweeps.points import points_of

Given = dict[str, st.SearchStrategy[Any]]


class Target(NamedTuple):
    """A function of the public surface.

    Attributes:
        call: The function.
        given: Strategies of its arguments.
        check: What must hold of an answer; called with the answer and the arguments.
        weight: How many cases it gets, over what most get.
    """

    call: Callable[..., Any]
    given: Given
    check: Callable[..., None] = holds.any_answer
    weight: float = 1.0


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
TOPOLOGIES = st.builds(tk.Topology, st.integers(1, 4), st.integers(1, 4))
EXTENT = by_axis(sizes(1, 60))
RANKS = st.integers(0, 8) | st.sampled_from([1.5, "a", True, None])
NO_FUNCTION = odd().filter(lambda value: not callable(value))
ACTIONS = st.from_regex(r"[0-9]{1,3}F[0-9]{0,3}") | st.text(max_size=6)
SPACES = mostly(st.dictionaries(st.sampled_from("ab"), several(sizes()), max_size=2))
SHAPE = mostly(st.tuples(st.just(1), st.just(16), sizes(1, 24), sizes(1, 24)))
RANK, COUNT = sizes(0, 12), sizes(1, 9)
WORD = mostly(st.sampled_from(["linear", "cosine", "crop", "window", "gather", "ring", "exchange", "recompute"]))


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


GEOMETRY = {
    "Span": Target(tk.Span, {"start": sizes(), "stop": sizes()}),
    "Span.inside": Target(lambda outer: tk.Span(2, 4).inside(outer), {"outer": odd()}),
    "cover_axis": Target(cover_axis, {"extent": sizes(1, 99), "tile": sizes(1), "overlap": sizes()}, holds.row),
    "strided_axis": Target(strided_axis, {"extent": sizes(1, 99), "tile": sizes(1), "stride": sizes(1)}, holds.row),
    "TileGrid": Target(
        tk.TileGrid,
        {
            "axes": mostly(st.sampled_from([("w",), ("h", "w"), ("w", "h"), ("w", "w")])),
            "rows": several(several(st.builds(tk.Span, st.integers(0, 5), st.integers(5, 9)), most=3), most=2),
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
        tk.ShardPlan, {"h": COUNT, "w": COUNT, "attention": WORD, "borders": WORD, "root": RANK}, holds.shard_plan
    ),
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
        tk.Topology, {"hosts": COUNT, "per_host": COUNT, "within": mostly(LINKS), "between": mostly(LINKS)}
    ),
    "Topology.link": Target(lambda one, a, b: one.link(a, b), {"one": TOPOLOGIES, "a": RANK, "b": RANK}),
}
STEPS = {
    "StageSplit": Target(tk.StageSplit, {"bounds": several(sizes(0, 9))}, holds.split),
    "StageSplit.even": Target(tk.StageSplit.even, {"layers": sizes(1), "stages": COUNT}, holds.split),
    "StageSplit.balanced": Target(
        tk.StageSplit.balanced,
        {
            "costs": several(numbers(), 9),
            "stages": sizes(1, 4),
            "memory": st.none() | several(numbers(), 9),
            "cap": st.none() | numbers() | several(numbers(), 4),
            "speeds": st.none() | several(numbers(), 4),
        },
        holds.split,
        2,
    ),
    "StageSplit.at": Target(tk.StageSplit.at, {"bounds": several(sizes(0, 9)), "layers": sizes(1, 12)}, holds.split),
    "StageSplit.owner": Target(lambda split, layer: split.owner(layer), {"split": SPLITS, "layer": RANK}),
    "StageSplit.costs": Target(lambda split, costs: split.costs(costs), {"split": SPLITS, "costs": several(numbers())}),
    "Action": Target(Action, {"chunk": sizes(), "branch": sizes()}),
    "Action.parse": Target(Action.parse, {"text": mostly(ACTIONS)}),
    "read_table": Target(read_table, {"text": mostly(SCHEDULES.map(str) | st.text(max_size=20))}),
    "Schedule": Target(
        tk.Schedule,
        {
            "stages": COUNT,
            "branches": sizes(1, 4),
            "chunks": sizes(1, 3),
            "in_flight": sizes(1, 4),
            "overlap": mostly(st.booleans()),
        },
        holds.schedule,
        2,
    ),
    "Schedule.step_time": Target(
        lambda one, costs, hop: one.step_time(costs, hop),
        {"one": SCHEDULES, "costs": several(numbers()), "hop": numbers()},
        holds.duration,
    ),
    "Schedule.loop_time": Target(
        lambda one, cost, steps: one.loop_time([cost] * one.depth, steps),
        {"one": SCHEDULES, "cost": numbers(), "steps": sizes(1, 9)},
        holds.duration,
    ),
    "Schedule.timeline": Target(
        lambda one, cost, hop, steps: one.timeline([cost] * one.depth, hop, steps),
        {"one": SCHEDULES, "cost": numbers(), "hop": numbers(), "steps": sizes(1, 9)},
    ),
    "Schedule.order": Target(lambda one, rank: one.order(rank), {"one": SCHEDULES, "rank": RANK}),
    "StagePlan": Target(
        lambda plan, split, **given: tk.StagePlan(plan.split if split is None else split, plan.schedule, **given),
        {
            "plan": STAGES,
            "split": st.none() | mostly(SPLITS),
            **{name: sizes(1, 3) for name in ("cfg", "sp", "tp", "experts")},
            "encoders": sizes(0, 3),
            "vae": st.none() | mostly(SHARDS),
        },
        holds.stage_plan,
        2,
    ),
    "StagePlan.position": Target(lambda plan, rank: plan.position(rank), {"plan": STAGES, "rank": RANK}),
    "StagePlan.layers_of": Target(lambda plan, rank: plan.layers_of(rank), {"plan": STAGES, "rank": RANK}),
    "StagePlan.expert_of": Target(lambda plan, rank: plan.expert_of(rank), {"plan": STAGES, "rank": RANK}),
    "StagePlan.step_time": Target(
        lambda plan, costs, hop: plan.step_time(costs, hop),
        {"plan": STAGES, "costs": st.none() | several(numbers(), 12), "hop": numbers()},
        holds.duration,
    ),
    "loop_time": Target(
        lambda plan, cost, **given: loop_time(plan, {"": [cost] * plan.schedule.depth}, **given),
        {"plan": STAGES, "cost": numbers(), "steps": mostly(st.just({"": 2})), "requests": COUNT, "hop": numbers()},
        holds.duration,
    ),
}
SURFACE = {
    "Options": Target(
        tk.Options,
        {
            "arguments": odd(),
            "seed": sizes(),
            "autocast": odd(),
            "recipe": odd(),
            "norm_passes": sizes(),
            "rules": odd(),
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
