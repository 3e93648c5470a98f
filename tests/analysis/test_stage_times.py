"""Where the time of stages went, on traces whose every number is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
from support.stage_runs import run_of, scheduled_events, scheduled_run

from toolkit.analysis.stage_times import stage_times
from toolkit.errors import ToolkitError
from toolkit.geometry import Schedule, StagePlan, StageSplit
from toolkit.runs.trace import Event, Kind, Label


def stage_plan(schedule: Schedule, **more: int) -> StagePlan:
    return StagePlan(StageSplit.even(12, schedule.depth), schedule, **more)


SCHEDULES = [
    Schedule.sequential(3, branches=2),
    Schedule.interleaved(1, branches=2),
    Schedule.interleaved(4, branches=2),
    Schedule.interleaved(2, branches=3),
    Schedule.looped(2, branches=2, chunks=3),
    Schedule.requests(4, branches=2, requests=3),
    Schedule.requests(2, branches=2, requests=2, chunks=2),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("hop", [0.0, 0.03125])
def test_a_run_as_scheduled_is_what_the_schedule_says(schedule, hop):
    costs = [0.125 * (1 + chunk % 3) for chunk in range(schedule.depth)]
    times = stage_times(scheduled_run(stage_plan(schedule), costs, steps=7, hop=hop))
    assert times.begin == 1.0
    assert times.loop == schedule.loop_time(costs, steps=7, hop=hop)
    assert times.costs == {"": tuple(costs)}
    assert times.steps == {"": 7}
    assert times.requests == schedule.in_flight
    assert times.hop == (hop if schedule.ranks > 1 else 0.0)
    assert times.predicted == times.loop
    assert times.one_rank == 7 * schedule.branches * schedule.in_flight * sum(costs)
    assert times.utilisation == pytest.approx(times.one_rank / (schedule.ranks * times.loop), rel=1e-12)
    assert times.step == pytest.approx(schedule.step_time(costs, hop=hop), rel=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_equal_stages_without_links_realise_all_of_the_gain(schedule):
    times = stage_times(scheduled_run(stage_plan(schedule), [0.25] * schedule.depth, steps=3))
    assert times.bound == pytest.approx(times.loop, rel=1e-12)
    if schedule.overlap and schedule.ranks > 1:
        assert times.realised == pytest.approx(1.0, rel=1e-12)
    else:
        assert math.isnan(times.realised)
        assert "no gain promised" in repr(times)


def test_half_of_the_gain():
    schedule = Schedule.interleaved(2, branches=2)
    run = scheduled_run(stage_plan(schedule), [0.25, 0.25], steps=4)
    loop = schedule.loop_time([0.25, 0.25], steps=4)
    times = stage_times(run, one_rank=3.5)
    assert times.bound == pytest.approx(3.5 * 0.75)
    assert times.realised == pytest.approx((3.5 - loop) / (3.5 - 3.5 * 0.75))
    slower = stage_times(run, one_rank=2.0)
    assert slower.realised < 0
    assert slower.gain == "slower than one rank"


def test_actions_are_the_timeline():
    schedule = Schedule.looped(2, branches=2, chunks=2)
    costs = [0.25, 0.5, 0.125, 0.25]
    times = stage_times(scheduled_run(stage_plan(schedule), costs, steps=3, hop=0.0625))
    planned = {
        (event.rank, event.action.chunk, event.action.branch, event.step): (1.0 + event.start, 1.0 + event.stop)
        for event in schedule.timeline(costs, 0.0625, steps=3)
    }
    rows = times.actions
    keys = zip(rows["rank"], rows["chunk"], rows["branch"], rows["step"], strict=True)
    assert dict(zip(keys, zip(rows["start"], rows["end"], strict=True), strict=True)) == planned
    assert rows["start"].is_monotonic_increasing
    assert set(rows["expert"]) == {""}


def test_the_time_of_every_rank_is_all_accounted_for():
    schedule = Schedule.interleaved(3, branches=2)
    times = stage_times(scheduled_run(stage_plan(schedule), [0.5, 1.0, 0.5], steps=4, hop=0.25))
    assert times.ranks.sum(axis=1).tolist() == pytest.approx([times.loop] * 3)
    assert times.ranks["compute"].tolist() == [4.0, 8.0, 4.0]
    assert (times.ranks.loc[1:, "wait for results"] == 0).all()
    assert times.ranks.loc[0, "wait for stages"] == 0
    waits = times.waits.assign(seconds=times.waits["end"] - times.waits["start"])
    by_rank = waits.groupby(["rank", "what"])["seconds"].sum()
    assert by_rank[0, "wait for results"] == times.ranks.loc[0, "wait for results"]
    assert by_rank[2, "wait for stages"] == times.ranks.loc[2, "wait for stages"]


def test_what_comes_before_and_after_the_loop():
    times = stage_times(scheduled_run(stage_plan(Schedule.interleaved(2, branches=2)), [0.5, 0.5], steps=2))
    assert times.rest.to_dict() == {
        "before the loop": 1.0,
        "after the loop": 2.5,
        "of which text_encoder": 0.25,
        "of which vae.decode": 2.0,
    }
    assert times.seconds == times.loop + 3.5
    assert times.summary()["rest of the run s"] == 3.5


def test_what_a_stage_computes_before_it_receives_counts_but_is_not_its_start():
    plan = stage_plan(Schedule.interleaved(2, branches=1))
    events = [
        Event(0, Kind.STAGE, Label(chunk=0, branch=0, step=0), 0.0, 1.0),
        Event(1, Kind.STAGE, Label(chunk=1, branch=0, step=0), 0.0, 0.25),
        Event(1, Kind.WAIT, Label(chunk=0, branch=0, step=0), 0.25, 1.125),
        Event(1, Kind.RECEIVE, Label(chunk=0, branch=0, step=0), 1.125, 1.25),
        Event(1, Kind.STAGE, Label(chunk=1, branch=0, step=0), 1.25, 2.25),
        Event(0, Kind.WAIT, Label(branch=0, step=0), 1.0, 2.5),
    ]
    times = stage_times(run_of(plan, events, 3.0))
    last = times.actions.iloc[-1]
    assert (last["start"], last["end"], last["seconds"]) == (1.25, 2.25, 1.25)
    assert times.hop == 0.25
    assert times.loop == 2.5


def test_two_transformers_are_kept_apart():
    plan = stage_plan(Schedule.interleaved(2, branches=2))
    first = scheduled_events(plan, [0.25, 0.25], steps=2, begin=0.0, expert="transformer")
    then = max(event.end for event in first)
    second = scheduled_events(plan, [0.5, 0.5], steps=3, begin=then, expert="transformer_2")
    second = [replace(event, label=replace(event.label, step=event.label.step + 2)) for event in second]
    times = stage_times(run_of(plan, [*first, *second], 9.0))
    assert times.costs == {"transformer": (0.25, 0.25), "transformer_2": (0.5, 0.5)}
    assert times.steps == {"transformer": 2, "transformer_2": 3}
    assert times.predicted == times.loop


def test_a_run_of_one_request_on_one_rank_counts_for_each():
    alone = scheduled_run(stage_plan(Schedule.interleaved(1, branches=2)), [1.0], steps=4)
    run = scheduled_run(stage_plan(Schedule.requests(2, branches=2, requests=2)), [0.5, 0.5], steps=4)
    assert stage_times(run, one_rank=alone).one_rank == 16.0


def test_runs_without_stages_are_refused():
    with pytest.raises(ToolkitError, match="stage_times is for runs with a StagePlan"):
        stage_times(run_of(None, [Event(0, Kind.WHOLE, Label(text="WanPipeline"), 0.0, 1.0)], 1.0))


def test_a_transformer_with_another_schedule_is_refused():
    run = scheduled_run(stage_plan(Schedule.looped(2, branches=2, chunks=2)), [1.0] * 4, steps=1)
    other = run_of(stage_plan(Schedule.interleaved(2, branches=2)), [], 9.0)
    with pytest.raises(ToolkitError, match=r"ran in 4 chunks, but Schedule.interleaved\(.*\) has 2"):
        stage_times(replace(other, trace=run.trace))


def test_it_shows_itself():
    times = stage_times(scheduled_run(stage_plan(Schedule.interleaved(2, branches=2)), [0.5, 0.5], steps=2))
    assert repr(times) == (
        "StageTimes(2 stages over 2 ranks: loop 3 s, predicted 3 s, one rank 4 s: "
        "100 % of the possible gain; 67 % busy)"
    )
    assert "wait for results" in times._repr_html_()
    assert isinstance(times.summary(), pd.Series)
