"""Which ranks measure at the same time, and how their pace is taken."""

from __future__ import annotations

import os

import pytest
import torch

from toolkit.geometry import ShardPlan
from toolkit.models import demo
from toolkit.planning.rehearsing import crowding
from toolkit.planning.rehearsing.crowding import Place, measure_pace, on_first, place_of_rank, with_room
from toolkit.planning.rehearsing.rehearse import rehearse
from toolkit.planning.rehearsing.script import operators_of


def test_ranks_of_one_machine_share_its_processors(cluster):
    places = cluster.run(place_of_rank, "cpu")
    assert len(set(places)) == 1
    assert with_room(places) == min(5, places[0].room)


def test_ranks_that_are_not_asked_keep_out_of_the_way(cluster):
    assert cluster.run(on_first, 2, os.getpid) == [*cluster.pids[:2], None, None, None]


@pytest.mark.parametrize(
    ("places", "count"),
    [
        ([Place("a", "cuda:0", 1), Place("a", "cuda:1", 1)], 2),
        ([Place("a", "cuda:0", 1), Place("a", "cuda:0", 1)], 1),
        ([Place("a", "cpu", 1), Place("b", "cpu", 1), Place("b", "cpu", 1), Place("c", "cpu", 8)], 2),
    ],
    ids=["a card each", "one card", "one host is full"],
)
def test_ranks_with_a_device_each(places: list[Place], count: int) -> None:
    assert with_room(places) == count


def test_a_pace_is_work_done_over_time_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowding, "SECONDS", 2.5)
    ticks = iter(range(100))
    monkeypatch.setattr(crowding, "clock", lambda: float(next(ticks)))
    calls = operators_of(rehearse(demo.image_vae(), (1, 16, 4, 4), ShardPlan(), device="cpu").scripts)
    calls = dict(list(calls.items())[:2])
    with torch.no_grad():
        # At 1, 2 and 3 s: two calls of the first, one of the second; the end is looked up at 4 s.
        assert measure_pace(calls, dict(zip(calls, (8.0, 2.0), strict=True)), "cpu") == (8.0 + 2.0 + 8.0) / 4
