"""Measurements whose arithmetic can be checked without a clock."""

from __future__ import annotations

import pytest

from toolkit.geometry import ShardPlan
from toolkit.models import demo
from toolkit.planning.rehearsing import stopwatch
from toolkit.planning.rehearsing.rehearse import rehearse
from toolkit.planning.rehearsing.script import operators_of


def test_a_pace_is_work_done_over_time_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "WHILE", 2.5)
    ticks = iter(range(100))
    monkeypatch.setattr(stopwatch, "clock", lambda: float(next(ticks)))
    calls = operators_of(rehearse(demo.image_vae(), (1, 16, 4, 4), ShardPlan(), device="cpu").scripts)
    calls = dict(list(calls.items())[:2])
    # At 1, 2 and 3 s: two calls of the first, one of the second; the end is looked up at 4 s.
    assert stopwatch.measure_pace(calls, dict(zip(calls, (8.0, 2.0), strict=True)), "cpu") == (8.0 + 2.0 + 8.0) / 4


def test_a_second_in_which_the_machine_is_busy_is_outvoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each operator is measured in three turns, with all others between them."""
    calls = operators_of(rehearse(demo.image_vae(), (1, 16, 4, 4), device="cpu").scripts)
    calls = dict(list(calls.items())[:3])
    turns: list[int] = []

    def timings(*_: object) -> list[float]:
        # All that is measured in the second turn takes ten times as long.
        turns.append(len(turns) // (len(calls) + 1))
        return [10.0, 10.0] if turns[-1] == 1 else [1.0, 1.0]

    monkeypatch.setattr(stopwatch, "_timings", timings)
    costs, small = stopwatch.measure_operators(calls, ["call"], "cpu")
    assert turns == [0] * 4 + [1] * 4 + [2] * 4
    assert ([cost.seconds for cost in costs.values()], small) == ([1.0, 1.0, 1.0], {"call": 1.0})
