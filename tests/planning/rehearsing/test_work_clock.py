"""Ranks that share processors, played against times worked out by hand; all of them are exact in binary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

import toolkit as tk
from toolkit.geometry.topology import Link, Topology
from toolkit.planning.rehearsing.performance import Performance, play
from toolkit.planning.rehearsing.profile import Crowd, Profile
from toolkit.planning.rehearsing.script import Await, Compute, Crossing, Post, Script, Step
from toolkit.planning.rehearsing.work_clock import WorkClock


def compute(seconds: float) -> Compute:
    return Compute(str(seconds), 0, 0, 1)


def on_two_processors(computing: int) -> float:
    return max(1.0, computing / 2)


def played(*steps: Sequence[Step], posting: float = 0.0) -> Performance:
    scripts = [Script(rank, steps=list(taken)) for rank, taken in enumerate(steps)]
    topology = Topology(per_host=len(scripts), within=Link(bandwidth=8.0))
    cost = {"slowness": on_two_processors, "post": posting, "topology": topology}
    return play(scripts, lambda step: float(step.key), **cost)


def every(performance: Performance) -> list[list[float]]:
    """The time after each number of steps, of each rank."""
    return [[one.at(done) for done in range(len(one.own))] for one in performance.times.values()]


def test_ranks_with_a_processor_each_are_not_slowed() -> None:
    assert every(played([compute(1.0)], [compute(3.0)])) == [[0.0, 1.0], [0.0, 3.0]]


def test_four_ranks_take_twice_as_long_on_two_processors() -> None:
    assert every(played(*[[compute(1.0), compute(0.5)]] * 4)) == [[0.0, 2.0, 3.0]] * 4


def test_whoever_ends_late_is_quicker_once_the_others_have_ended() -> None:
    done = every(played([compute(1.0)], [compute(1.0)], [compute(2.0)], [compute(3.0)]))
    assert done == [[0.0, 2.0], [0.0, 2.0], [0.0, 3.0], [0.0, 4.0]]


def test_stages_that_take_turns_do_not_slow_each_other() -> None:
    """Four stages of a second each, one after the other, and a second of each message."""
    there, back = Crossing(True, 1, 8), Crossing(False, 0, 8)
    stages = [
        [compute(1.0), Post((there,))],
        [Post((back,)), Await(0), compute(1.0), Post((Crossing(True, 2, 8),))],
        [Post((Crossing(False, 1, 8),)), Await(0), compute(1.0), Post((Crossing(True, 3, 8),))],
        [Post((Crossing(False, 2, 8),)), Await(0), compute(1.0)],
    ]
    ends = [times[-1] for times in every(played(*stages))]
    assert ends == [1.0, 3.0, 5.0, 7.0]


def test_all_steps_are_where_they_were_when_others_began_to_wait_and_went_on() -> None:
    """Two of four ranks wait from 1 s to 2 s, in which the others are twice as quick as before and after."""
    waits = [[Post((Crossing(False, other, 16),)), compute(0.5), Await(0), compute(1.0)] for other in (2, 3)]
    goes_on = [[Post((Crossing(True, other, 16),)), *[compute(0.25)] * 10] for other in (0, 1)]
    first, second, third, fourth = every(played(*waits, *goes_on))
    assert first == second == [0.0, 0.0, 1.0, 2.0, 4.0]
    assert third == fourth == [0.0, 0.0, 0.5, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0]


def test_a_message_costs_more_where_ranks_share() -> None:
    sends = [[Post((Crossing(True, rank + 2, 8),)), compute(1.0)] for rank in range(2)]
    receives = [[Post((Crossing(False, rank, 8),)), compute(1.0)] for rank in range(2)]
    assert every(played(*sends, *receives, posting=0.25)) == [[0.0, 0.5, 2.5]] * 4


def test_a_clock_forgets_changes_at_one_moment() -> None:
    clock = WorkClock(on_two_processors, computing=4)
    clock.to_work(1.0)
    clock.goes(-1)
    clock.goes(-1)
    clock.goes(-1)
    clock.to_time(3.0)
    assert (clock.progress.work, clock.progress.time, clock.progress.slowness) == ([0.0, 1.0], [0.0, 2.0], [2.0, 1.0])
    assert (clock.work, clock.time) == (2.0, 3.0)
    clock.to_time(2.5)
    assert clock.time == 3.0


def test_tiles_gain_by_ranks_that_have_ended_and_shards_do_not_by_ranks_that_wait() -> None:
    """Three ranks on two processors. One of them has two of four tiles, so the processors are its own in the end."""
    vae, shape = tk.demo.image_vae(), (1, 16, 24, 24)
    free = Profile.assume(operations=1e10, bandwidth=1e10)
    shared = replace(free, crowds={2: Crowd(1.0), 3: Crowd(1.5)})
    grid = tk.TileGrid.cover({"h": 24, "w": 24}, 14, 4)
    tiles = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.round_robin(grid, 3))
    alone, together = (tk.rehearse(vae, shape, tiles, profile=one).seconds for one in (free, shared))
    assert together / alone == pytest.approx(1.25, abs=0.01)
    alone, together = (tk.rehearse(vae, shape, tk.ShardPlan(h=3), profile=one).seconds for one in (free, shared))
    assert together / alone == pytest.approx(1.5)
