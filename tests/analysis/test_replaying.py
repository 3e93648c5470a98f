"""Replays: the state of every part, the messages and the memory at any moment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.replayed import TILES, run_of, shard_run, tile_run
from support.stage_runs import scheduled_run

from toolkit.analysis.part_states import Spans, State
from toolkit.analysis.replaying import moments_of, replaying
from toolkit.errors import PlanError, ToolkitError
from toolkit.geometry import Schedule, StagePlan, StageSplit
from toolkit.runs.trace import Event, Kind, Label

W, C, H, T, D = State.WAITING, State.COMPUTING, State.HELD, State.TRAVELLING, State.DONE


@pytest.mark.parametrize(
    ("time", "states"),
    [
        (0.0, [C, W, W]),
        (0.49, [C, W, W]),
        (0.5, [C, C, W]),  # an event includes its start
        (1.0, [T, C, W]),  # and excludes its end
        (1.49, [T, C, W]),
        (1.5, [T, H, C]),  # rank 1 waits for the edge
        (2.0, [T, H, C]),  # rank 1 takes the edge
        (2.5, [D, C, C]),
        (3.0, [D, T, D]),
        (3.25, [D, T, D]),
        (3.99, [D, T, D]),
        (4.0, [D, D, D]),
        (9.0, [D, D, D]),
    ],
)
def test_states_of_tiles(time, states):
    assert list(replaying(tile_run()).at(time).states) == states


@pytest.mark.parametrize(
    ("time", "states"),
    [
        (0.0, [C, C]),
        (1.0, [H, C]),  # rank 0 posts its halo, which belongs to the shard that receives it
        (1.25, [W, C]),  # nobody has sent what shard 0 waits for
        (2.0, [T, T]),
        (2.5, [T, C]),
        (2.75, [C, C]),
        (3.5, [C, D]),
        (4.0, [D, D]),
    ],
)
def test_states_of_shards(time, states):
    assert list(replaying(shard_run()).at(time).states) == states


def test_states_of_looped_stages():
    plan = StagePlan(StageSplit.even(layers=8, stages=4), Schedule.looped(stages=2, branches=2, chunks=2))
    run = scheduled_run(plan, costs=[0.25] * 4, steps=2, begin=1.0)
    replay = replaying(replace(run, trace=run.trace.assign(peer=1 - run.trace["rank"])))
    assert replay.parts.names[:2] == ("stage 0, layers 0:2", "stage 2, layers 4:6")
    assert replay.parts.owners.tolist() == [0, 0, 1, 1]
    stages = run.trace[run.trace["kind"] == "stage"]
    for part, chunk in enumerate([0, 2, 1, 3]):
        own = stages[stages["chunk"] == chunk]
        first, last = own["start"].min(), own["end"].max()
        assert replay.at(first - 0.01).states[part] == W
        for start, end in zip(own["start"], own["end"], strict=True):
            assert replay.at((start + end) / 2).states[part] == C
            assert replay.at(end - 1e-9).states[part] == C
        assert replay.at(last + 0.1).states[part] == D
    assert len(replay.parts.sheet.rows) == 2


def test_the_whole_call_is_one_part():
    run = run_of(None, [Event(0, Kind.WHOLE, Label(text="decode"), 0.5, 1.0), Event(0, Kind.LOAD, Label(), 0.0, 0.25)])
    replay = replaying(run)
    assert replay.subject == "1 call on 1 rank"
    assert [replay.at(time).states[0] for time in (0.25, 0.75, 1.0)] == [W, C, D]


def test_messages_and_memory_of_a_moment():
    replay = replaying(tile_run())
    assert [len(replay.at(time).messages) for time in (0.99, 1.0, 2.49, 2.5, 3.0)] == [0, 1, 1, 0, 1]
    assert replay.at(0.2).memory == {0: 0.0, 1: 0.0}
    assert replay.at(0.25).memory == {0: 1e6, 1: 0.0}
    assert replay.at(2.8).memory == {0: 5e6, 1: 4e6}
    assert replay.worst == 2.0
    # An arrow shows what was under way at any moment since the one before.
    assert len(replay.under_way(5.0, since=2.0)) == 2
    assert len(replay.under_way(0.5, since=0.0)) == 0


def test_without_memory_the_worst_moment_is_when_most_is_computed():
    nothing = pd.DataFrame(columns=["rank", "time", "bytes"])
    replay = replaying(tile_run(nothing))
    assert replay.worst == 0.5
    assert replay.at(1.0).memory == {}


@pytest.mark.parametrize("count", [3, 4, 48, 1000])
def test_moments_begin_end_and_include_the_worst(count):
    replay = replaying(tile_run())
    times = moments_of([replay], count)
    assert (times[0], times[-1]) == (0.0, 4.0)
    assert replay.worst in times
    assert len(times) == count
    assert (np.diff(times) > 0).all()


@st.composite
def runs(draw):
    """Runs of three tiles with events in any order, also at the same moments, and messages between the two ranks."""
    moments = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.7, 1.0, 1.1])
    events = []
    for _ in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from([Kind.DECODE, Kind.NORMS, Kind.BLEND, Kind.SEND, Kind.RECEIVE, Kind.WAIT]))
        rank, (start, end) = draw(st.integers(0, 1)), sorted((draw(moments), draw(moments)))
        peer = 1 - rank if kind in (Kind.SEND, Kind.RECEIVE, Kind.WAIT) else -1
        events.append(Event(rank, kind, Label(tile=draw(st.integers(0, 2))), start, end, 8, peer))
    events.append(Event(0, Kind.DECODE, Label(tile=0), 0.1, 0.2))
    return run_of(TILES, events)


@settings(max_examples=60, deadline=None)
@given(runs())
def test_every_part_has_one_state_and_what_is_done_stays_done(run):
    replay = replaying(run)
    own = run.trace[run.trace["kind"].isin(["decode", "norms", "blend"])]
    computed, sent = (table[["tile", "start", "end"]].to_numpy() for table in (own, replay.messages))
    done = np.zeros(3, bool)
    for time in np.unique([*run.trace["start"], *run.trace["end"], *np.linspace(0, 1.2, 13)]):
        states = replay.states(time)
        assert set(states.tolist()) <= {W, C, H, T, D}
        assert not (done & (states != D)).any()
        done |= states == D
        for part in range(3):
            computing, under_way = (
                any(tile == part and start <= time < end for tile, start, end in table) for table in (computed, sent)
            )
            assert (states[part] == C) == computing
            assert (states[part] == T) == (under_way and not computing)
        assert sum(replay.counts(time).values()) == 3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_intervals_are_found_as_by_looking_at_each(found):
    spans = [(owner, min(a, b) / 10, max(a, b) / 10) for owner, a, b in found]
    owner, start, end = (
        np.array([span[place] for span in spans], kind) for place, kind in enumerate((int, float, float))
    )
    times = np.arange(-1, 21) / 20
    inside = Spans.of(owner, start, end, owners=4).inside(times)
    for place, time in enumerate(times):
        expected = [any(who == one and a <= time < b for who, a, b in spans) for one in range(4)]
        assert inside[place].tolist() == expected


@pytest.mark.parametrize("time", [-1, float("nan"), float("inf"), "0", True, None])
def test_odd_times_are_refused(time):
    with pytest.raises(PlanError, match="time="):
        replaying(tile_run()).at(time)


def test_runs_without_events_or_times_are_refused():
    with pytest.raises(ToolkitError, match="has no events"):
        replaying(run_of(TILES, []))
    with pytest.raises(ToolkitError, match="have no times"):
        replaying(run_of(TILES, [Event(0, Kind.DECODE, Label(tile=0), 0.0, 0.0)]))
    old = tile_run()
    with pytest.raises(ToolkitError, match="no column 'chunk'"):
        replaying(type(old)(**{**vars(old), "trace": old.trace.drop(columns="chunk")}))
