"""The time of whole denoising loops in stages, with several transformers and several requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from toolkit.errors import PlanError
from toolkit.geometry.checks import Number, check_counts, check_kind
from toolkit.geometry.schedule import Schedule
from toolkit.geometry.stage_plan import StagePlan


def loop_time(
    plan: StagePlan,
    costs: Mapping[str, Sequence[Number]],
    steps: Mapping[str, int],
    requests: int = 1,
    hop: Number = 0,
) -> Number:
    """Time from the start of the first stage until the last result of every request is back.

    Requests run in waves, as many at a time as the schedule has in flight, and all take equally many steps.
    Transformers on the same ranks run one after the other. Transformers with their own ranks form a pipeline: while one
    wave is in the second transformer, the next one is in the first.

    Args:
        plan: The stages. Several transformers have the same schedule.
        costs: Time of one branch in each chunk, for each transformer by name, in the order in which they are used.
        steps: Number of steps that each request takes with each transformer.
        requests: Number of requests.
        hop: Time from the end of a chunk until its result arrives at the next rank.

    Raises:
        PlanError: If costs and steps do not name the same transformers in the same order.

    Example:
        Two transformers of equal cost, five steps each. Ten steps of two branches on one rank would take 20.

        >>> from toolkit.geometry.stage_split import StageSplit
        >>> plan = StagePlan(StageSplit.even(8, 1), Schedule.interleaved(stages=1, branches=2), experts=2)
        >>> costs, steps = {"high": [1], "low": [1]}, {"high": 5, "low": 5}
        >>> loop_time(plan, costs, steps), loop_time(plan, costs, steps, requests=3)
        (20, 40)
    """
    check_kind("plan", plan, kind=StagePlan, remedy="a StagePlan, such as run.plan of a run in stages")
    check_kind("costs", costs, kind=Mapping, remedy="a dict of the times of chunks by transformer")
    check_kind("steps", steps, kind=Mapping, remedy="a dict of the numbers of steps by transformer")
    check_counts(requests=requests)
    if list(costs) != list(steps):
        raise PlanError(
            f"costs of {list(costs)}, steps of {list(steps)}: name the same transformers in both, in the same order."
        )
    # When each group of ranks is free. A wave starts with a transformer when its group is free and the wave itself is
    # done with the transformer before.
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
    """Number of requests in each wave.

    Example:
        >>> waves(Schedule.requests(stages=2, branches=2, requests=2), requests=5)
        [2, 2, 1]
    """
    whole, rest = divmod(requests, schedule.in_flight)
    return [schedule.in_flight] * whole + ([rest] if rest else [])
