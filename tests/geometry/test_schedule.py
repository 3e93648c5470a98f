"""Schedules: what a step takes, by formula, by another simulation and by bounds that nothing can beat."""

import pickle
import time
from dataclasses import FrozenInstanceError
from fractions import Fraction
from itertools import pairwise, product
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import PlanError
from toolkit.geometry.drawing.svg_gantt import Bar, draw_gantt
from toolkit.geometry.schedule import Schedule
from toolkit.geometry.schedule_table import Action, read_table, write_table
from toolkit.geometry.stage_plan import StagePlan
from toolkit.geometry.stage_split import StageSplit

SMALL = list(product(range(1, 7), range(1, 5)))
"""Ranks and branches."""

RATIONALS = st.fractions(min_value=0, max_value=5, max_denominator=6)


def equal(schedule: Schedule) -> list[Fraction]:
    """Chunks that take equally long; a branch takes 1 on one rank."""
    return [Fraction(1, schedule.depth)] * schedule.depth


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    stages, branches = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    if draw(st.booleans()):
        return draw(st.sampled_from([Schedule.sequential, Schedule.interleaved]))(stages, branches)
    return Schedule.requests(stages, branches, draw(st.integers(1, 4)), chunks=draw(st.integers(1, 3)))


@st.composite
def timed(draw: st.DrawFn) -> tuple[Schedule, list[Fraction], Fraction]:
    """A schedule, what its chunks take, and a link."""
    schedule = draw(schedules())
    costs = draw(st.lists(RATIONALS, min_size=schedule.depth, max_size=schedule.depth))
    return schedule, costs, draw(RATIONALS)


# The formulas, c = 1 for a branch on one rank


@pytest.mark.parametrize(("P", "B"), SMALL)
def test_sequential_gains_nothing(P, B):
    schedule = Schedule.sequential(P, B)
    assert schedule.step_time(equal(schedule)) == B
    assert schedule.utilisation == pytest.approx(1 / P)


@pytest.mark.parametrize(("P", "B"), SMALL)
def test_interleaved(P, B):
    schedule = Schedule.interleaved(P, B)
    assert schedule.step_time(equal(schedule)) / B == Fraction(P + B - 1, P * B)
    assert schedule.utilisation == pytest.approx(B / (P + B - 1))
    assert schedule.bubble == pytest.approx((P - 1) / (P + B - 1))


@pytest.mark.parametrize(("P", "B", "V"), [(P, B, V) for P, B in SMALL for V in range(1, 5)])
def test_looped(P, B, V):
    schedule = Schedule.looped(P, B, V)
    expected = Fraction(P * V + B - 1, P * V) if B <= P else Fraction(B * V + P - 1, P * V)
    assert schedule.step_time(equal(schedule)) == expected
    # Nothing on P ranks is faster: the last one starts P - 1 chunks late; the last branch, B - 1 after the first.
    assert expected == max(Fraction(P * V + B - 1, P * V), Fraction(B * V + P - 1, P * V))


@pytest.mark.parametrize(("P", "B", "R"), [(P, B, R) for P, B in SMALL for R in range(1, 7)])
def test_requests(P, B, R):
    schedule = Schedule.requests(P, B, R)
    assert schedule.step_time(equal(schedule)) == Fraction(max(R * B, P + B - 1), P)
    assert schedule.utilisation == pytest.approx(min(1, R * B / (P + B - 1)))


@pytest.mark.parametrize(("P", "B", "V", "R"), list(product(range(1, 5), range(1, 4), range(1, 4), range(1, 5))))
def test_requests_on_looped_ranks(P, B, V, R):
    schedule = Schedule.requests(P, B, R, chunks=V)
    laps = (V - 1) * max(R * B, P) + max(R * B, P + B - 1)
    assert schedule.step_time(equal(schedule)) == Fraction(laps, P * V)


def test_the_figures_that_were_measured_against():
    ideal = [Schedule.looped(P, 2, V) for P, V in [(2, 1), (2, 2), (2, 4), (4, 1), (4, 2)]]
    assert [schedule.step_time(equal(schedule)) / 2 for schedule in ideal] == [0.75, 0.625, 0.5625, 0.625, 0.5625]


@given(st.lists(RATIONALS, min_size=1, max_size=5), st.integers(1, 4), st.integers(1, 4), RATIONALS)
@settings(max_examples=60, deadline=None)
def test_uneven_stages(costs, B, R, hop):
    P = len(costs)
    way = sum(costs) + (B - 1) * max(costs) + (P * hop if P > 1 else 0)
    assert Schedule.interleaved(P, B).step_time(costs, hop) == way
    assert Schedule.requests(P, B, R).step_time(costs, hop) == max(R * B * max(costs), way)
    alone = sum(costs) + (P * hop if P > 1 else 0)
    assert Schedule.sequential(P, B).step_time(costs, hop) == B * alone


@pytest.mark.parametrize(("P", "B", "V"), [(P, B, V) for P, B in SMALL for V in (1, 2, 3) if 1 < P >= B])
def test_links_count_once_a_chunk(P, B, V):
    schedule, hop = Schedule.looped(P, B, V), Fraction(1, 7)
    assert schedule.step_time(equal(schedule), hop) == Fraction(P * V + B - 1, P * V) + P * V * hop


# Any schedule, any costs


def relaxed(schedule: Schedule, costs: list[Fraction], hop: Fraction, steps: int) -> dict[tuple[int, Action], Fraction]:
    """The earliest start of every action of a loop, by raising starts until all constraints hold."""
    hop = hop if schedule.ranks > 1 else Fraction(0)
    orders = [[(step, a) for step in range(steps) for a in schedule.order(rank)] for rank in range(schedule.ranks)]
    start = {item: Fraction(0) for order in orders for item in order}
    cost = {item: costs[item[1].chunk] for item in start}
    edges = [(a, b, cost[a]) for order in orders for a, b in pairwise(order)]
    last = schedule.depth - 1
    for step, action in start:
        chunk, branch = action.chunk, action.branch
        if chunk:
            edges.append(((step, Action(chunk - 1, branch)), (step, action), costs[chunk - 1] + hop))
            continue
        request = branch // schedule.branches
        siblings = range(request * schedule.branches, (request + 1) * schedule.branches)
        before = [(step - 1, other) for other in siblings if step]
        if not schedule.overlap:
            before += [(step, other) for other in siblings if other < branch]
        edges += [((s, Action(last, other)), (step, action), costs[last] + hop) for s, other in before]
    changed = True
    while changed:
        changed = False
        for a, b, wait in edges:
            if start[a] + wait > start[b]:
                start[b], changed = start[a] + wait, True
    return start


@given(timed())
@settings(max_examples=40, deadline=None)
def test_the_simulation_is_the_earliest_there_is(drawn):
    schedule, costs, hop = drawn
    events = schedule.timeline(costs, hop, steps=3)
    assert {(event.step, event.action): event.start for event in events} == relaxed(schedule, costs, hop, 3)
    assert all(event.stop - event.start == costs[event.action.chunk] for event in events)


@given(timed())
@settings(max_examples=60, deadline=None)
def test_ranks_do_one_thing_at_a_time_in_their_order(drawn):
    schedule, costs, hop = drawn
    events = schedule.timeline(costs, hop, steps=2)
    for rank in range(schedule.ranks):
        own = [event for event in events if event.rank == rank]
        assert [event.action for event in own if event.step == 0] == list(schedule.order(rank))
        ordered = sorted(own, key=lambda event: event.step)
        assert all(a.stop <= b.start for a, b in pairwise(ordered))


@given(timed())
@settings(max_examples=60, deadline=None)
def test_no_step_beats_the_busiest_rank_or_the_longest_way(drawn):
    schedule, costs, hop = drawn
    step = schedule.step_time(costs, hop)
    items = schedule.branches * schedule.in_flight
    busiest = max(items * sum(costs[rank :: schedule.ranks]) for rank in range(schedule.ranks))
    way = sum(costs) + (schedule.depth * hop if schedule.ranks > 1 else 0)
    assert step >= max(busiest, way)
    assert step <= items * way


@given(timed())
@settings(max_examples=40, deadline=None)
def test_a_long_loop_takes_step_time_a_step(drawn):
    schedule, costs, hop = drawn
    step, some, more = schedule.step_time(costs, hop), 20, 60
    taken = schedule.loop_time(costs, more, hop)
    fill = schedule.branches * schedule.in_flight * (sum(costs) + schedule.depth * hop)
    assert more * step <= taken + fill
    assert taken <= more * step + fill
    assert schedule.loop_time(costs, some, hop) <= taken
    if schedule.in_flight == 1:
        assert taken == more * step


def test_a_loop_of_several_requests_fills_once():
    schedule = Schedule.requests(4, 2, 3)
    assert schedule.loop_time([1] * 4, steps=10) == 10 * 6 + 3


def test_costs_may_be_floats():
    schedule = Schedule.looped(2, 2, 2)
    assert schedule.step_time([0.1, 0.2, 0.3, 0.4], hop=0.01) == pytest.approx(1.0 + 0.4 + 4 * 0.01)
    assert schedule.step_time([0.1, 0.2, 0.3, 0.4]) == pytest.approx(1.4)


# The table


def test_tables_by_hand():
    assert str(Schedule.sequential(2, 2)).splitlines() == ["rank 0  0F0  .    0F1  .", "rank 1  .    1F0  .    1F1"]
    assert str(Schedule.requests(2, 1, 2)).splitlines() == ["rank 0  0F0  0F1  .", "rank 1  .    1F0  1F1"]


def test_the_columns_of_a_table_stand_below_each_other():
    lines = str(Schedule.interleaved(11, 2)).splitlines()
    assert [line.index(f"{rank}F0") for rank, line in enumerate(lines)] == [9 + 6 * rank for rank in range(11)]


@given(schedules())
@settings(max_examples=60, deadline=None)
def test_a_table_holds_every_action_once_after_what_it_waits_for(schedule):
    table = schedule.table
    slots = {action: slot for row in table for slot, action in enumerate(row) if action}
    assert sorted(slots) == sorted(schedule.actions)
    assert len(slots) == sum(action is not None for row in table for action in row)
    for rank, row in enumerate(table):
        assert tuple(action for action in row if action) == schedule.order(rank)
        assert {action.chunk % schedule.stages for action in row if action} == {rank}
    assert all(slots[Action(a.chunk - 1, a.branch)] < slots[a] for a in slots if a.chunk)


@given(schedules())
@settings(max_examples=40, deadline=None)
def test_reading_is_the_inverse_of_writing(schedule):
    assert read_table(str(schedule)) == schedule.table
    assert write_table(read_table(str(schedule))) == str(schedule)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rank 0 0B0", "'0B0' is not an action"),
        ("rank 0 F", "'F' is not an action"),
        ("rank 1 0F0", "must begin with 'rank 0'"),
    ],
)
def test_a_table_that_is_none_is_refused(text, said):
    with pytest.raises(PlanError) as error:
        read_table(text)
    assert said in str(error.value)


# The value


def test_a_schedule_is_a_value():
    a, b = Schedule.looped(2, 2, 2), Schedule.requests(2, 2, 1, chunks=2)
    assert a == b
    assert hash(a) == hash(b)
    assert pickle.loads(pickle.dumps(a)) == a
    with pytest.raises(FrozenInstanceError):
        a.chunks = 3  # type: ignore[misc]


@given(schedules())
@settings(max_examples=40, deadline=None)
def test_the_repr_makes_an_equal_schedule(schedule):
    assert eval(repr(schedule), {"Schedule": Schedule}) == schedule


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Schedule.interleaved(0, 2), "stages=0: must be an int of at least 1"),
        (lambda: Schedule.looped(2, 2, 1.5), "chunks=1.5: must be an int of at least 1"),
        (lambda: Schedule.requests(2, 2, 0), "in_flight=0"),
        (lambda: Schedule(2, 2, in_flight=3, overlap=False), "Use 1 of each, or overlap=True"),
        (lambda: Schedule.looped(2, 2, 2).step_time([1] * 2), "chunk_costs has 2 values: give 4, one for each chunk"),
        (lambda: Schedule.interleaved(2, 2).step_time([1, -1]), "chunk_costs[1]=-1"),
        (lambda: Schedule.interleaved(2, 2).step_time([1, 1], hop=-0.5), "hop=-0.5"),
        (lambda: Schedule.interleaved(2, 2).loop_time([1, 1], steps=0), "steps=0"),
    ],
)
def test_what_breaks_a_rule_is_refused(make, said):
    with pytest.raises(PlanError) as error:
        make()
    assert said in str(error.value)


# The picture


def page(schedule: Schedule) -> ElementTree.Element:
    text = schedule._repr_html_()
    assert len(text.encode()) < 50_000
    assert text == schedule._repr_html_()
    return ElementTree.fromstring(text)


def test_the_picture_has_a_box_and_a_title_for_each_action():
    root = page(Schedule.looped(2, 2, 2))
    titles = [title.text for title in root.iter("title")]
    assert len(titles) == 2 * 8
    assert titles[0].startswith("step 0, rank 0: chunk 0 of branch 0, 0 to 0.25")
    labels = [text.text for text in root.iter("text")]
    assert labels.count("3F1") == 2
    (picture,) = root.iter("svg")
    assert "coloured by branch" in picture.get("aria-label")
    rows = [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]
    assert ["step", "1.250"] in rows
    assert ["utilisation", "80.0 %"] in rows


def test_ranks_that_are_not_drawn_have_no_boxes():
    bars = [Bar(rank, 0, 1, "0F0", 0, f"rank {rank}") for rank in range(20)]
    picture = draw_gantt(bars, ranks=20, summary="twenty ranks")
    assert picture.notes == ("drawn: the first 16 of 20 ranks, the first 16 of 20 actions",)
    assert picture.drawing.body.count("<title>") == 16


def test_small_boxes_say_less():
    bars = [Bar(0, 0, 100, "10F3", 3, "wide"), Bar(0, 100, 102, "10F3", 3, "narrow"), Bar(1, 0, 0, "10F3", 3, "none")]
    words = ElementTree.fromstring(str(draw_gantt(bars, ranks=2, summary="three boxes").drawing))
    assert [text.text for text in words.iter("text")].count("10F3") == 1
    assert [title.text for title in words.iter("title")] == ["wide", "none", "narrow"]


def test_a_picture_of_many_says_what_it_leaves_out():
    root = page(Schedule.requests(40, 2, 3, chunks=2))
    words = "".join(root.itertext())
    assert "drawn: the first 16 of 40 ranks, the first 160 of 960 actions." in words
    assert len([text for text in root.iter("text") if (text.text or "").startswith("rank ")]) == 16


def test_a_wide_table_is_cut_as_text():
    schedule = Schedule.interleaved(1000, branches=4)
    *rows, last = str(schedule).splitlines()
    assert (len(rows), len(str(schedule)) < 150_000) == (64, True)
    assert last == "... of 1000 ranks and 1003 slots; schedule.table has them all"
    assert repr(schedule) == "Schedule.interleaved(stages=1000, branches=4)"
    assert len(schedule.table) == 1000


def test_the_formula_is_the_simulation():
    for stages, branches, chunks, requests in product(range(1, 5), range(1, 4), range(1, 4), range(1, 5)):
        schedule = Schedule(stages, branches, chunks, requests)
        assert schedule.formula[1] == schedule.step_time(equal(schedule))
        assert schedule.utilisation == pytest.approx(
            branches * requests / (stages * schedule.step_time(equal(schedule)))
        )


def test_a_large_schedule_is_predicted_and_drawn_at_once():
    schedule = Schedule.requests(64, branches=4, requests=16)
    plan = StagePlan(StageSplit.even(130, 64), schedule)
    begin = time.perf_counter()
    assert plan.ratio == pytest.approx(64 * 3 / 130 / 64)
    assert "64 ranks" in plan._repr_html_()
    assert "Schedule" in schedule._repr_html_()
    assert schedule.step_time([0.1 + chunk % 7 for chunk in range(64)], hop=0.01) > 6
    assert time.perf_counter() - begin < 2  # 0.4 s on an idle machine


@given(schedules(), st.data())
@settings(max_examples=60, deadline=None)
def test_times_in_integers_and_fractions_agree_with_rounded_ones(schedule, data):
    costs = data.draw(st.lists(RATIONALS, min_size=schedule.depth, max_size=schedule.depth))
    exact = schedule.step_time(costs, hop=Fraction(1, 3))
    assert isinstance(exact, Fraction)
    assert schedule.step_time([float(cost) for cost in costs], hop=1 / 3) == pytest.approx(float(exact))
    whole = schedule.step_time([int(60 * cost) for cost in costs], hop=20)
    assert whole == pytest.approx(float(60 * exact))
