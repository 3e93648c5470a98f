"""Which ranks measure at the same time."""

from __future__ import annotations

import os

import pytest

from toolkit.planning.rehearsing.rank_places import Place, on_first, place_of_rank, with_room


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
