"""Loops of several requests and transformers: in waves, and from one group of ranks to the next."""

from fractions import Fraction

import pytest

from toolkit.errors import PlanError
from toolkit.geometry import Schedule, StagePlan, StageSplit
from toolkit.geometry.stage_loop import loop_time, waves


def plan(schedule: Schedule, experts: int = 1) -> StagePlan:
    return StagePlan(StageSplit.even(12, schedule.depth), schedule, experts=experts)


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule.sequential(3, branches=2),
        Schedule.interleaved(3, branches=2),
        Schedule.looped(2, branches=2, chunks=3),
        Schedule.requests(2, branches=2, requests=3, chunks=2),
    ],
)
def test_one_transformer_takes_what_the_schedule_says(schedule):
    costs = [Fraction(1 + chunk, 7) for chunk in range(schedule.depth)]
    own = schedule.loop_time(costs, steps=5, hop=Fraction(1, 9))
    assert loop_time(plan(schedule), {"": costs}, {"": 5}, schedule.in_flight, Fraction(1, 9)) == own


def test_more_requests_than_in_flight_go_in_waves():
    two, one = Schedule.requests(3, branches=2, requests=2), Schedule.interleaved(3, branches=2)
    assert waves(two, 5) == [2, 2, 1]
    costs = [2, 3, 2]
    expected = 2 * two.loop_time(costs, steps=4) + one.loop_time(costs, steps=4)
    assert loop_time(plan(two), {"": costs}, {"": 4}, requests=5) == expected


def test_fewer_requests_than_in_flight_leave_their_places_empty():
    many, one = Schedule.requests(3, branches=2, requests=4), Schedule.interleaved(3, branches=2)
    assert loop_time(plan(many), {"": [1, 1, 1]}, {"": 4}) == one.loop_time([1, 1, 1], steps=4)


def test_transformers_on_the_same_ranks_follow_each_other():
    one = Schedule.interleaved(2, branches=2)
    costs, steps = {"high": [1, 2], "low": [3, 1]}, {"high": 2, "low": 5}
    expected = one.loop_time([1, 2], steps=2) + one.loop_time([3, 1], steps=5)
    assert loop_time(plan(one), costs, steps) == expected
    assert loop_time(plan(one), costs, steps, requests=3) == 3 * expected


@pytest.mark.parametrize(("high", "low"), [(4, 4), (2, 5), (7, 1)])
@pytest.mark.parametrize("requests", [1, 2, 5])
def test_transformers_on_ranks_of_their_own_are_a_belt(high, low, requests):
    one = Schedule.interleaved(2, branches=2)
    first, second = one.loop_time([1, 1], high), one.loop_time([1, 1], low)
    found = loop_time(plan(one, 2), {"high": [1, 1], "low": [1, 1]}, {"high": high, "low": low}, requests)
    assert found == first + second + (requests - 1) * max(first, second)


def test_costs_and_steps_of_other_transformers_are_refused():
    one = plan(Schedule.interleaved(2, branches=2))
    with pytest.raises(PlanError, match=r"costs of \['high'\], steps of \['low'\]"):
        loop_time(one, {"high": [1, 1]}, {"low": 3})
    with pytest.raises(PlanError, match="requests=0"):
        loop_time(one, {"": [1, 1]}, {"": 3}, requests=0)
