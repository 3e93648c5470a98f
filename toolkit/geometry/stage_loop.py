"""How long the denoising loops of a pipeline's calls take on stages: several transformers, several requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from toolkit.errors import PlanError
from toolkit.geometry.checks import Number, check_counts
from toolkit.geometry.schedule import Schedule
from toolkit.geometry.stage_plan import StagePlan


def loop_time(
    plan: StagePlan,
    costs: Mapping[str, Sequence[Number]],
    steps: Mapping[str, int],
    requests: int = 1,
    hop: Number = 0,
) -> Number:
    """Time from the first stage's start until the last result of every request is back, from rest.

    Requests of the same length go through in waves of as many as the schedule has in flight. Transformers on the same
    ranks follow each other. Where each has ranks of its own, they work like a belt: one wave is with the second
    transformer while the next one is with the first.

    Args:
        plan: the stages; of several transformers the same schedule.
        costs: what one branch takes in each chunk, for each transformer by name, in the order in which they are used.
        steps: how many steps each request has with each transformer.
        requests: how many.
        hop: time from the end of a chunk to its result's arrival at the next rank.

    Raises:
        PlanError: where costs and steps are not of the same transformers.

    Example:
        Two transformers of equal cost, five steps each; ten steps of two branches on one rank would take 20.

        >>> from toolkit.geometry.stage_split import StageSplit
        >>> plan = StagePlan(StageSplit.even(8, 1), Schedule.interleaved(stages=1, branches=2), experts=2)
        >>> costs, steps = {"high": [1], "low": [1]}, {"high": 5, "low": 5}
        >>> loop_time(plan, costs, steps), loop_time(plan, costs, steps, requests=3)
        (20, 40)
    """
    check_counts(requests=requests)
    if list(costs) != list(steps):
        raise PlanError(
            f"costs of {list(costs)}, steps of {list(steps)}: give both for each transformer, in one order."
        )
    free: list[Number] = [0] * plan.experts
    for wave in waves(plan.schedule, requests):
        schedule = replace(plan.schedule, in_flight=wave)
        done: Number = 0
        for place, (name, chunks) in enumerate(costs.items()):
            group = place % plan.experts
            taken = schedule.loop_time(chunks, steps[name], hop)
            free[group] = done = max(free[group], done) + taken
    return max(free)


def waves(schedule: Schedule, requests: int) -> list[int]:
    """How many requests compute together, one wave after the other.

    Example:
        >>> waves(Schedule.requests(stages=2, branches=2, requests=2), requests=5)
        [2, 2, 1]
    """
    whole, rest = divmod(requests, schedule.in_flight)
    return [schedule.in_flight] * whole + ([rest] if rest else [])
