"""Checks: odd values are refused in our words, wherever plans take them, and sizes beyond every machine at once."""

import time
from fractions import Fraction

import numpy as np
import pytest

from toolkit.errors import PlanError
from toolkit.geometry import Assignment, Blend, Link, Schedule, ShardPlan, Span, StagePlan, StageSplit, TileGrid
from toolkit.geometry.checks import MOST_CELLS, MOST_PARTS, check_choice, check_quantities, check_quantity, shown
from toolkit.geometry.schedule_table import Action, read_table
from toolkit.geometry.span import cover_axis, strided_axis
from toolkit.geometry.stage_loop import loop_time
from toolkit.geometry.tile_plan import TilePlan
from toolkit.geometry.topology import Topology

GRID = TileGrid.cover({"h": 20, "w": 30}, tile=12, overlap=4)
TILES = TilePlan(GRID, Blend.linear(), Assignment.balanced(GRID, ranks=2))
SHARDS = ShardPlan(h=2, w=2)
SPLIT = StageSplit.even(8, 2)
STAGES = StagePlan(SPLIT, Schedule.interleaved(2, branches=2), experts=2)


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no text")


ODD = {
    "span in floats": (lambda: Span(0.0, 4.0), "Span 0.0:4.0 must satisfy"),
    "span in words": (lambda: Span("a", "b"), "Span 'a':'b' must satisfy"),
    "span of a bool": (lambda: Span(False, True), "Span False:True must satisfy"),
    "span times a float": (lambda: Span(0, 4) * 2.0, "ratio=2.0: must be an int"),
    "span inside a number": (lambda: Span(0, 4).inside(4), "outer=4: must be the Span that the tensor holds"),
    "rows of no spans": (lambda: TileGrid(("w",), ((0, 4),)), "must be a tuple of Spans"),
    "axes that are no words": (lambda: TileGrid.cover({1: 20}, tile=8), "must be a tuple of axis names"),
    "axes that are no tuple": (lambda: TileGrid(5, ()), "axes=5: must be a tuple of axis names"),
    "extent in floats": (lambda: TileGrid.cover({"w": 20.0}, tile=8), "extent=20.0: must be an int"),
    "tile of a bool": (lambda: TileGrid.cover({"w": 20}, tile=True), "tile=True: must be an int"),
    "place that is no place": (lambda: GRID.index(3), "position=3: must be a list of places"),
    "place with too few axes": (lambda: GRID.index((1,)), "give one place for each of the axes"),
    "place in floats": (lambda: GRID.index((0.0, 1)), "must lie inside the grid's shape"),
    "owners in floats": (lambda: Assignment((0.0, 1), 2), "must be a tuple of ints"),
    "owners that are one number": (lambda: Assignment(5, 2), "owners=5: must be a tuple of ints"),
    "ranks of a bool": (lambda: Assignment.round_robin(GRID, True), "ranks=True: must be an int"),
    "ranks in NumPy's ints": (lambda: Assignment.contiguous(GRID, np.int64(2)), "must be an int"),
    "assignment of no grid": (lambda: Assignment.round_robin([1, 2], 2), "grid=[1, 2]: must be a TileGrid"),
    "assignment of nothing": (lambda: Assignment.contiguous(None, 2), "grid=None: must be a TileGrid"),
    "cost that is no function": (lambda: Assignment.balanced(GRID, 2, cost=5), "cost=5: must be a function"),
    "cost that gives no number": (lambda: Assignment.balanced(GRID, 2, cost=lambda _: "x"), "cost gave 'x'"),
    "tiles of a negative rank": (lambda: TILES.assignment.tiles_of(-1), "rank=-1: must be an int of at least 0"),
    "grid that is no grid": (lambda: TilePlan(3, Blend.linear(), TILES.assignment), "grid=3: must be a TileGrid"),
    "root that is no int": (lambda: TilePlan(GRID, Blend.linear(), TILES.assignment, root=0.0), "root=0.0: must be"),
    "peaks of a mapping": (lambda: TILES.peaks({}), "cell_bytes={}: must be an int"),
    "peaks of negative bytes": (lambda: TILES.peaks(-100), "cell_bytes=-100: must be an int of at least 0"),
    "negative working bytes": (lambda: TILES.peaks(100, -1), "working_bytes=-1: must be an int of at least 0"),
    "negative bytes moved": (lambda: TILES.bytes_moved(-1), "cell_bytes=-1: must be an int of at least 0"),
    "ramp that is a list": (lambda: Blend(ramp=["linear"]), "ramp=['linear']: must be one of"),
    "ramp that is an array": (lambda: Blend(ramp=np.array(["linear", "crop"])), "must be one of linear"),
    "parts of no extent": (lambda: SHARDS.parts(5), "extent=5: must be a dict"),
    "parts in floats": (lambda: SHARDS.parts({"h": 8.5, "w": 8}), "h=8.5: must be an int"),
    "parts without an axis": (lambda: SHARDS.parts({"h": 8}), "w=None: must be an int"),
    "shard of a rank not there": (lambda: SHARDS.shard(4, {"h": 8, "w": 8}), "rank=4: must be one of"),
    "shard of a negative rank": (lambda: SHARDS.shard(-1, {"h": 8, "w": 8}), "rank=-1: must be one of"),
    "shards' root of a bool": (lambda: ShardPlan(h=2, root=True), "root=True: must be one of"),
    "vae that is a number": (lambda: StagePlan(SPLIT, STAGES.schedule, vae=3), "vae=3: must be a TilePlan"),
    "encoders that are no int": (lambda: StagePlan(SPLIT, STAGES.schedule, encoders=0.0), "encoders=0.0: must be"),
    "position of a word": (lambda: STAGES.position(""), "rank='': must be one of"),
    "position of a rank not there": (lambda: STAGES.position(4), "rank=4: must be one of the plan's 4 ranks"),
    "expert of a rank not there": (lambda: STAGES.expert_of(4), "rank=4: must be one of the plan's 4 ranks"),
    "expert of a negative rank": (lambda: STAGES.expert_of(-1), "rank=-1: must be one of"),
    "hop in words": (lambda: STAGES.step_time(hop="4"), "hop='4': must be a finite number"),
    "hop of a bool": (lambda: STAGES.step_time(hop=True), "hop=True: must be a finite number"),
    "owner of a word": (lambda: SPLIT.owner(""), "layer='': must be one of"),
    "owner of a bool": (lambda: SPLIT.owner(True), "layer=True: must be one of"),
    "owner of a float": (lambda: SPLIT.owner(0.0), "layer=0.0: must be one of"),
    "costs that are a number": (lambda: StageSplit.balanced(5, 2), "costs=5: must be a list of numbers"),
    "costs in words": (lambda: StageSplit.balanced(["a", "b"], 2), "costs[0]='a': must be a finite number"),
    "costs in a mapping": (lambda: StageSplit.balanced({0: 1, 1: 2}, 2), "must be a list of numbers"),
    "cap in words": (lambda: StageSplit.balanced([1, 1], 2, memory=[1, 1], cap="9"), "cap='9'"),
    "cuts that are an array without axes": (lambda: StageSplit.at(np.array(3), layers=5), "bounds=array(3): must be"),
    "cuts that are arrays": (lambda: StageSplit.at([0, np.array([1, 2])], layers=5), "must be a tuple of ints"),
    "cuts that are a number": (lambda: StageSplit.at(3, layers=5), "bounds=3: must be a list of ints"),
    "action that is no text": (lambda: Action.parse(0), "0 is not an action"),
    "action with an endless number": (lambda: Action.parse("9" * 9999 + "F0"), "is not an action"),
    "action of a negative chunk": (lambda: Action(-1, 0), "chunk=-1: must be an int"),
    "table that is no text": (lambda: read_table(5), "5 is not a table"),
    "order of a rank not there": (lambda: STAGES.schedule.order(2), "rank=2: must be one of"),
    "rank of a negative chunk": (lambda: STAGES.schedule.rank_of(-1), "chunk=-1: must be an int"),
    "overlap that is no bool": (lambda: Schedule(2, 2, overlap="no"), "overlap='no': must be True or False"),
    "timeline of words": (lambda: STAGES.schedule.timeline("ab"), "chunk_costs='ab': must be a list of numbers"),
    "loop of no plan": (lambda: loop_time(3, {"": [1, 1]}, {"": 1}), "plan=3: must be a StagePlan"),
    "loop of no costs": (lambda: loop_time(STAGES, 5, {"": 1}), "costs=5: must be a dict"),
    "host in words": (lambda: Topology(hosts=2).host_of("a"), "rank 'a': "),
    "host of a bool": (lambda: Topology(hosts=2).host_of(True), "rank True: "),
    "bandwidth in words": (lambda: Link("fast"), "bandwidth='fast': must be a positive number"),
    "bytes in words": (lambda: Link(1e9).seconds("4"), "size='4': must be an int"),
    "number without text": (lambda: Schedule(Unprintable(), 2), "stages=a value of type Unprintable: must be an int"),
}


@pytest.mark.parametrize(("call", "said"), ODD.values(), ids=ODD)
def test_an_odd_value_is_refused_with_the_value_and_the_rule(call, said):
    with pytest.raises(PlanError) as error:
        call()
    assert said in str(error.value)


HUGE = 10**30
BEYOND = {
    "ranks": lambda: Assignment.round_robin(GRID, HUGE),
    "endless digits": lambda: Assignment.round_robin(GRID, 10**6000),
    "topology": lambda: Topology(hosts=10**6, per_host=10**6),
    "extent": lambda: TileGrid.cover({"w": HUGE}, tile=8),
    "tiles of an axis": lambda: cover_axis(MOST_CELLS, tile=8, overlap=0),
    "strides of an axis": lambda: strided_axis(MOST_CELLS, tile=8, stride=8),
    "tiles of a grid": lambda: TileGrid.cover({"t": 10**3, "h": 10**3, "w": 10**3}, tile=1),
    "span": lambda: Span(0, HUGE),
    "shards": lambda: ShardPlan(h=10**6, w=10**6),
    "extent of shards": lambda: SHARDS.parts({"h": HUGE, "w": 8}),
    "stages": lambda: Schedule.interleaved(HUGE, branches=2),
    "chunks": lambda: Schedule.looped(10**5, branches=1, chunks=10**5),
    "actions": lambda: Schedule.requests(10**4, branches=4, requests=10**4),
    "actions of a timeline": lambda: STAGES.schedule.timeline([1, 1], steps=10**6),
    "ranks of stages": lambda: StagePlan(SPLIT, STAGES.schedule, cfg=10**5, sp=10**5),
    "layers": lambda: StageSplit((0, HUGE)),
    "even layers": lambda: StageSplit.even(HUGE, 2),
    "costs": lambda: StageSplit.balanced([10**400, 1], 2),
    "hop": lambda: STAGES.step_time(hop=1e300),
}


@pytest.mark.parametrize("call", BEYOND.values(), ids=BEYOND)
def test_what_no_machine_can_hold_is_refused_at_once(call):
    begin = time.perf_counter()
    with pytest.raises(PlanError, match=r"at most|must end at"):
        call()
    assert time.perf_counter() - begin < 0.25


def test_the_largest_counts_are_not_refused():
    assert ShardPlan(h=2**10, w=2**10).ranks == MOST_PARTS
    assert len(Span(0, MOST_CELLS)) == MOST_CELLS
    assert Topology(hosts=2**10, per_host=2**10).ranks == MOST_PARTS


def test_all_shards_of_a_large_plan_are_cut_at_once():
    begin = time.perf_counter()
    assert len(ShardPlan(h=20_000).as_grid({"h": 40_000, "w": 8})) == 20_000
    assert time.perf_counter() - begin < 1


def test_numbers_of_other_kinds_are_quantities():
    check_quantities("costs", np.array([0.5, 2.0], np.float32), count=2, each="layer")
    check_quantities("costs", [Fraction(1, 3), np.int64(2)], count=2, each="layer")
    for odd in (True, None, float("nan"), float("inf"), -1, 1j, "1", np.array(1.0)):
        with pytest.raises(PlanError, match="costs="):
            check_quantity("costs", odd)


def test_a_long_value_is_cut():
    with pytest.raises(PlanError) as error:
        check_choice("ramp", "x" * 10**6, choices=("linear",))
    assert len(str(error.value)) < 200
    assert shown(Unprintable()) == "a value of type Unprintable"
