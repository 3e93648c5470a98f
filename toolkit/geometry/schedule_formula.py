"""The time of a step by formula, for chunks of equal cost and links that take no time."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.geometry.schedule import Schedule


def step_formula(schedule: Schedule) -> tuple[str, Fraction]:
    """The formula for a step of all requests, and its value. The unit is the time of a branch on one rank.

    P is the number of ranks, B the branches per request, V the chunks per rank and R the requests. The branches go
    around the ranks V times. The next lap starts when all branches have started this one and the first has completed
    it; the last lap ends when the last branch has completed it.

    Example:
        >>> from toolkit.geometry.schedule import Schedule
        >>> formula, value = step_formula(Schedule.looped(stages=2, branches=2, chunks=2))
        >>> print(formula, "=", value)
        (P V + B - 1) / (P V) = 5/4
        >>> step_formula(Schedule.requests(stages=4, branches=2, requests=3))
        ('max(R B, P + B - 1) / P', Fraction(3, 2))
    """
    ranks, branches, chunks = schedule.stages, schedule.branches, schedule.chunks
    if not schedule.overlap:
        return "B", Fraction(branches)
    entering = schedule.in_flight * branches
    laps = (chunks - 1) * max(entering, ranks) + max(entering, ranks + branches - 1)
    return _written(schedule), Fraction(laps, ranks * chunks)


def _written(schedule: Schedule) -> str:
    """The formula in its shortest form for this kind of schedule."""
    if schedule.in_flight > 1:
        last = "max(R B, P + B - 1)"
        return f"{last} / P" if schedule.chunks == 1 else f"((V - 1) max(R B, P) + {last}) / (P V)"
    if schedule.chunks == 1:
        return "(P + B - 1) / P"
    return "(P V + B - 1) / (P V)" if schedule.branches <= schedule.stages else "(B V + P - 1) / (P V)"
