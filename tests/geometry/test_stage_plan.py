"""Stage plans: split and schedule agree, ranks have their place, and published series follow from the ratio."""

import pickle
from fractions import Fraction
from itertools import product
from xml.etree import ElementTree

import pytest

from toolkit.errors import PlanError
from toolkit.geometry.schedule import Schedule
from toolkit.geometry.stage_plan import StagePlan
from toolkit.geometry.stage_split import StageSplit
from toolkit.geometry.topology import Topology, hosts_of


def stages_of(layers: int, stages: int) -> StagePlan:
    return StagePlan(StageSplit.even(layers, stages), Schedule.interleaved(stages, branches=2))


def test_every_layer_is_on_one_rank_of_each_group():
    shared = [(1, 1), (2, 1), (1, 2)]  # both at once are refused
    for stages, chunks, cfg, (sp, tp) in product((1, 2, 3), (1, 2), (1, 2), shared):
        plan = StagePlan(StageSplit.even(13, stages * chunks), Schedule.looped(stages, 1, chunks), cfg, sp, tp)
        assert plan.ranks == stages * cfg * sp * tp == len(plan.working)
        places = [tuple(plan.position(rank).values()) for rank in range(plan.ranks)]
        assert places == list(product(*map(range, plan.mesh.values())))
        held = [
            (layer, rank)
            for rank in plan.working
            for span in plan.layers_of(rank)
            for layer in range(13)
            if layer in span
        ]
        assert len(held) == 13 * cfg * sp * tp
        for layer, rank in held:
            chunk = plan.split.owner(layer)
            assert chunk in plan.chunks_of(rank)
            assert plan.schedule.rank_of(chunk) == plan.position(rank)["pp"]


def test_a_group_has_its_part_of_the_branches():
    plan = StagePlan(StageSplit.even(30, 2), Schedule.interleaved(2, branches=1), cfg=2)
    assert (plan.branches, plan.ranks) == (2, 4)
    # Each group takes one branch through two stages, while one device would take two.
    assert plan.step_time() == 1
    assert plan.ratio == 0.5


def test_costs_are_those_of_layers():
    plan = StagePlan(StageSplit.at([1], 3), Schedule.interleaved(2, 2))
    assert plan.step_time([5, 1, 2], hop=1) == 8 + 5 + 2
    assert plan.step_time() == Fraction(1) + Fraction(2, 3)


# Seconds and gigabytes on 1, 2 and 4 devices, from vllm-omni's pull request 2322.
PUBLISHED = {
    "Wan 2.2 TI2V 5B": (30, (46.3, 37.9, 34.1), (52.0, 47.4, 44.9)),
    "Wan 2.2 T2V A14B": (40, (208.9, 171.3, 152.5), (76.6, 50.3, 37.2)),
}


def through(one: float, other: float, g: float, h: float, wanted: float) -> tuple[float, float]:
    """The fixed part of the line through (g, one) and (h, other), and its value where it is wanted."""
    slope = (one - other) / (g - h)
    return one - slope * g, one + slope * (wanted - g)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_series_are_a_fixed_part_and_the_plan_s_ratio(name):
    layers, (one, two, four), _ = PUBLISHED[name]
    ratios = [stages_of(layers, stages).ratio for stages in (1, 2, 4)]
    fixed, predicted = through(one, two, *ratios)
    assert predicted == pytest.approx(four, rel=0.01)
    assert 0.27 <= fixed / one <= 0.30


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_memory_is_a_fixed_part_and_the_largest_stage(name):
    layers, _, (one, two, four) = PUBLISHED[name]
    shares = [float(max(StageSplit.even(layers, stages).shares)) for stages in (1, 2, 4)]
    assert through(one, two, *shares)[1] == pytest.approx(four, rel=0.01)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: StagePlan(StageSplit.even(30, 2), Schedule.looped(2, 2, 2)),
            "the split has 2 stages, Schedule.looped(stages=2, branches=2, chunks=2) needs 4, one for each chunk: "
            "split the 30 layers into 4",
        ),
        (lambda: StagePlan(StageSplit.even(30, 2), Schedule.interleaved(2, 2), cfg=0), "cfg=0"),
        (lambda: StagePlan(StageSplit.even(30, 2), Schedule.interleaved(2, 2), tp=True), "tp=True"),
        (lambda: stages_of(30, 2).position(2), "rank=2: must be one of the plan's 2 ranks, 0..1"),
        (lambda: stages_of(30, 2).step_time([1] * 29), "costs has 29 values: give 30, one for each layer"),
    ],
)
def test_what_breaks_a_rule_is_refused(make, said):
    with pytest.raises(PlanError) as error:
        make()
    assert said in str(error.value)


def test_a_plan_is_a_value():
    plan = StagePlan(StageSplit.even(30, 2), Schedule.interleaved(2, 2), sp=2)
    assert plan == StagePlan(StageSplit.even(30, 2), Schedule.interleaved(2, 2), sp=2)
    assert len({plan, stages_of(30, 2)}) == 2
    assert pickle.loads(pickle.dumps(plan)) == plan
    shown = "StagePlan(30 layers in 2 stages: 15 15; Schedule.interleaved(stages=2, branches=2); 4 ranks, pp2 x sp2)"
    assert repr(plan) == shown
    assert repr(stages_of(30, 2)).endswith("; 2 ranks)")


@pytest.mark.parametrize(
    "plan", [stages_of(30, 4), StagePlan(StageSplit.even(30, 2), Schedule.interleaved(2, 1), cfg=16)]
)
def test_the_notebook_form(plan):
    page = plan._repr_html_()
    assert len(page.encode()) < 50_000
    rows = [["".join(cell.itertext()) for cell in row] for row in ElementTree.fromstring(page).iter("tr")]
    assert rows[0] == ["rank", "cfg", "pp", "sp", "tp", "layers", "which"]
    assert rows[1] == ["0", "0", "0", "0", "0", str(len(plan.layers_of(0)[0])), str(plan.layers_of(0)[0])]
    if plan.ranks > 16:
        assert rows[-1][0] == "16 more"


def mesh_of(stages: int, cfg: int, sp: int, tp: int) -> StagePlan:
    return StagePlan(StageSplit.even(12, stages), Schedule.interleaved(stages, branches=2), cfg, sp, tp)


def hosts_along(plan: StagePlan, hosts: tuple[int, ...], axes: set[str]) -> list[set[int]]:
    """The hosts of each group of ranks that differ along some axes only."""
    groups: dict[tuple[int, ...], set[int]] = {}
    for rank in range(plan.ranks):
        place = plan.position(rank)
        rest = (plan.expert_of(rank), *(place[axis] for axis in plan.mesh if axis not in axes))
        groups.setdefault(rest, set()).add(hosts[rank])
    return list(groups.values())


@pytest.mark.parametrize(("sp", "tp"), [(1, 1), (2, 1), (1, 2), (4, 1), (1, 4)])
@pytest.mark.parametrize("cfg", [1, 2])
@pytest.mark.parametrize("stages", [1, 2, 3, 4])
@pytest.mark.parametrize("per_host", [1, 2, 3, 4, 6, 8])
def test_ranks_of_a_stage_are_on_one_host_or_it_is_refused(stages, cfg, sp, tp, per_host):
    plan = mesh_of(stages, cfg, sp, tp)
    hosts = hosts_of(Topology(-(-plan.ranks // per_host), per_host), plan.ranks)
    together = all(len(group) == 1 for group in hosts_along(plan, hosts, {"sp", "tp"}))
    if together or per_host < sp * tp:  # a group larger than every host has to be divided
        plan.require_hosts(hosts)
    else:
        with pytest.raises(PlanError, match=rf"[st]p={sp * tp}: ranks .* share a stage, and are on hosts"):
            plan.require_hosts(hosts)
    if per_host % (sp * tp) == 0:
        assert together
    if per_host % (stages * sp * tp) == 0:
        # The stages of one branch: only the branches' results cross.
        assert all(len(group) == 1 for group in hosts_along(plan, hosts, {"pp", "sp", "tp"}))


def test_stages_in_a_row_leave_each_host_once():
    plan, hosts = stages_of(12, 6), hosts_of(Topology(3, 2), 6)
    at = [hosts[rank] for rank in sorted(range(6), key=lambda rank: plan.position(rank)["pp"])]
    assert at == [0, 0, 1, 1, 2, 2]


def test_hosts_that_are_not_known_are_not_looked_at():
    for hosts in ((), ["a"], ("a", "b")):
        mesh_of(2, 1, 1, 2).require_hosts(hosts)
    with pytest.raises(PlanError, match="hosts='ab': must be a list of names"):
        mesh_of(2, 1, 1, 2).require_hosts("ab")
