"""Splits, schedules and stage plans that are fuzzed."""

from __future__ import annotations

from fuzz import invariants as holds
from fuzz.plain_values import ACTIONS, COUNT, RANK, SCHEDULES, SHARDS, SPLITS, STAGES
from fuzz.target import Target
from hypothesis import strategies as st
from support.odd_values import mostly, numbers, several, sizes

import toolkit as tk
from toolkit.geometry.schedule_table import Action, read_table
from toolkit.geometry.stage_loop import loop_time

BOUNDS = st.sets(st.integers(1, 20), min_size=1, max_size=5).map(lambda cuts: (0, *sorted(cuts)))
STEPS = {
    "StageSplit": Target(tk.StageSplit, {"bounds": several(sizes(0, 9)) | BOUNDS}, holds.split),
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
