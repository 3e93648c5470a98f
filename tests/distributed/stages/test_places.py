"""Places: the group's rank of every part of a plan, on plain plans without a group."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

import toolkit as tk
from toolkit.distributed.stages.places import Places
from toolkit.errors import PlanError


def plan_of(stages: int = 2, branches: int = 2, layers: int = 8, **more) -> tk.StagePlan:
    return tk.StagePlan(tk.StageSplit.even(layers, stages), tk.Schedule.interleaved(stages, branches), **more)


def mesh_of(ranks, *names):
    """What Places reads of a DeviceMesh."""
    return SimpleNamespace(mesh=torch.tensor(ranks), mesh_dim_names=names)


def test_without_a_mesh_the_first_ranks_of_the_group_have_the_stages():
    places = [Places.of(plan_of(3), None, me=me, size=5) for me in range(5)]
    assert [one.chunks for one in places] == [(0,), (1,), (2,), (), ()]
    assert [one.position and one.position["pp"] for one in places] == [0, 1, 2, None, None]
    assert {one.source(branch=0) for one in places} == {2}


def test_neighbours_are_a_ring():
    places = [Places.of(plan_of(3), None, me=me, size=3) for me in range(3)]
    assert [one.neighbour(1) for one in places] == [1, 2, 0]
    assert [one.neighbour(-1) for one in places] == [2, 0, 1]


def test_branches_on_ranks_of_their_own():
    plan = plan_of(2, cfg=2)
    places = [Places.of(plan, None, me=me, size=4) for me in range(4)]
    assert [[one.computes(branch) for branch in (0, 1)] for one in places] == [[True, False]] * 2 + [[False, True]] * 2
    assert [places[0].source(branch) for branch in (0, 1, 2)] == [1, 3, 1]
    assert [one.neighbour(1) for one in places] == [1, 0, 3, 2]


def test_a_rank_without_a_part_computes_nothing_and_knows_the_sources():
    outside = Places.of(plan_of(2), None, me=3, size=4)
    assert (outside.position, outside.chunks) == (None, ())
    assert not outside.computes(0)
    assert outside.source(0) == 1


def test_the_second_expert_has_the_later_ranks():
    plan = plan_of(2, experts=2)
    places = [Places.of(plan, None, me=2, size=4, expert=expert) for expert in (0, 1)]
    assert [one.ranks for one in places] == [(0, 1), (2, 3)]
    assert [one.chunks for one in places] == [(), (0,)]


def test_lines_along_each_axis_cover_every_rank_once():
    places = Places.of(plan_of(2, sp=2), None, me=0, size=4)
    assert places.lines("sp") == ((0, 1), (2, 3))
    assert places.lines("pp") == ((0, 2), (1, 3))
    for axis in ("cfg", "pp", "sp", "tp"):
        assert sorted(rank for line in places.lines(axis) for rank in line) == [0, 1, 2, 3]


def test_a_mesh_may_name_its_axes_in_another_order_and_leave_out_those_of_size_1():
    plan = plan_of(2, sp=2)
    straight = Places.of(plan, mesh_of([[0, 1], [2, 3]], "pp", "sp"), me=0, size=4)
    turned = Places.of(plan, mesh_of([[0, 2], [1, 3]], "sp", "pp"), me=0, size=4)
    assert straight.ranks == turned.ranks == (0, 1, 2, 3)
    moved = Places.of(plan, mesh_of([[3, 2], [1, 0]], "pp", "sp"), me=1, size=4)
    assert moved.ranks == (3, 2, 1, 0)
    assert moved.position == {"cfg": 0, "pp": 1, "sp": 0, "tp": 0}
    assert moved.rank_at(cfg=0, pp=0, sp=1, tp=0) == 2


@pytest.mark.parametrize(
    "mesh", [mesh_of([0, 1, 2], "pp"), mesh_of([[0, 1], [2, 3]], "pp", "sp"), mesh_of([0, 1], "dp")]
)
def test_a_mesh_that_is_not_the_plans_is_refused_with_the_one_that_is(mesh):
    with pytest.raises(PlanError, match=r"init_device_mesh\(device, .*mesh_dim_names="):
        Places.of(plan_of(2), mesh, me=0, size=4)


def test_a_group_that_is_too_small_is_refused():
    with pytest.raises(PlanError, match="the plan is for 3 ranks, the group has 2: make a plan for 2 ranks"):
        Places.of(plan_of(3), None, me=0, size=2)
