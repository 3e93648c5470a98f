"""What every plan answers for itself, asked of one plan of each kind."""

from __future__ import annotations

import pickle

import pytest

from toolkit.errors import PlanError
from toolkit.geometry import (
    Assignment,
    Blend,
    Plan,
    PlanKind,
    Schedule,
    ShardPlan,
    StagePlan,
    StageSplit,
    TileGrid,
    TilePlan,
    Topology,
    WholeCall,
)
from toolkit.geometry.plan import WHOLE, or_none, or_whole

GRID = TileGrid.cover({"h": 20, "w": 30}, tile=12, overlap=4)
TILES = TilePlan(GRID, Blend.linear(), Assignment((0,) * (len(GRID) - 1) + (2,), 3), root=2)
SHARDS = ShardPlan(h=2, w=2, root=3)
STAGES = StagePlan(StageSplit.even(8, 2), Schedule.interleaved(2, branches=2), vae=ShardPlan(h=2, root=1))
PLANS = [WHOLE, TILES, SHARDS, STAGES]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.kind.value)
def test_every_plan_answers(plan):
    assert isinstance(plan, Plan)
    assert plan.output_rank in plan.working
    assert set(plan.working) <= set(range(plan.ranks))
    assert len(plan.units) in (0, plan.ranks)
    assert plan.summary
    assert plan.promise
    assert plan.part_noun.endswith("s")
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert or_whole(or_none(plan)) == plan


def test_no_two_kinds_are_alike():
    assert {plan.kind for plan in PLANS} == set(PlanKind)
    assert len({plan.promise for plan in PLANS}) == len(PLANS)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.kind.value)
def test_a_plan_needs_its_ranks(plan):
    plan.require_ranks(plan.ranks, "cluster")
    with pytest.raises(PlanError, match=f"for {plan.ranks} ranks, the cluster has {plan.ranks - 1}: .*larger cluster"):
        plan.require_ranks(plan.ranks - 1, "cluster")


def test_seams_are_those_of_tiles_only():
    assert TILES.require_seams("stream=", "hands over bands") is GRID
    for plan in (WHOLE, SHARDS, STAGES):
        assert plan.seam_grid is None
        with pytest.raises(PlanError, match=r"stream= with (the model's own call|a \w+Plan): it hands over bands"):
            plan.require_seams("stream=", "hands over bands")


def test_the_parts_of_a_latent():
    extent = GRID.extent
    assert TILES.part_grid(extent) is GRID
    assert SHARDS.part_grid(extent) == SHARDS.as_grid(extent)
    assert WHOLE.part_grid(extent) is None
    assert STAGES.part_grid(extent) is None


def test_no_plan_is_a_value():
    assert or_whole(None) == WholeCall() == WHOLE
    assert or_none(WHOLE) is None
    for wrong in (GRID, "2x1", 2, {}):
        with pytest.raises(PlanError, match="give a TilePlan, a ShardPlan, or None"):
            or_whole(wrong)


@pytest.mark.parametrize("topology", [Topology(hosts=2, per_host=2), Topology(hosts=2, per_host=(3, 1))], ids=str)
def test_unless_a_root_is_given_the_output_is_on_the_first_host(topology):
    grid = TileGrid.cover({"h": 20, "w": 30}, tile=12, overlap=4)
    vaes = (
        None,
        ShardPlan.over(topology, {"h": 20, "w": 30}),
        TilePlan(grid, Blend.linear(), Assignment.balanced(grid, 4, topology=topology)),
    )
    stages = [StagePlan(StageSplit.even(8, 4), Schedule.interleaved(4, branches=2), vae=vae) for vae in vaes]
    for plan in (WHOLE, *vaes[1:], *stages):
        assert plan.output_rank == 0
        assert topology.host_of(plan.output_rank) == 0
    assert all(plan.encoders == 0 for plan in stages)
