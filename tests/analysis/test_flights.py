"""Messages of a trace: each send meets its receive."""

from __future__ import annotations

import pytest
from support.replayed import EDGE, SHARE, tile_run

from toolkit.analysis.flights import flights_of, slots_of
from toolkit.errors import ToolkitError
from toolkit.runs.run_tables import trace_table
from toolkit.runs.trace import Event, Kind, Label


def test_a_message_is_under_way_from_the_send_until_it_is_taken():
    run = tile_run()
    found = flights_of(run.trace)
    assert found[["sender", "receiver", "start", "end", "bytes", "label", "tile"]].values.tolist() == [
        [0, 1, 1.0, 2.5, 100, str(EDGE), 0],
        [1, 0, 3.0, 4.0, 300, str(SHARE), 1],
    ]
    kinds = [run.trace.loc[[sent, taken], "kind"].tolist() for sent, taken in found[["sent", "taken"]].to_numpy()]
    assert kinds == [["send", "receive"]] * 2


def test_messages_that_look_alike_are_matched_in_order():
    halo = Label(purpose="halo h")
    sends = [Event(0, Kind.SEND, halo, start, start + 0.1, 8, 1) for start in (0.0, 1.0)]
    takes = [Event(1, Kind.RECEIVE, halo, start, start + 0.1, 8, 0) for start in (0.5, 4.0)]
    found = flights_of(trace_table([*takes, *sends]))
    assert found[["start", "end"]].values.tolist() == [[0.0, 0.6], [1.0, 4.1]]


def test_a_send_that_nobody_takes_ends_with_itself():
    found = flights_of(trace_table([Event(0, Kind.SEND, EDGE, 1.0, 1.5, 8, 1)]))
    assert found[["end", "taken"]].values.tolist() == [[1.5, -1]]


def test_a_clock_that_is_behind_does_not_turn_a_message_around():
    events = [Event(0, Kind.SEND, EDGE, 1.0, 1.5, 8, 1), Event(1, Kind.RECEIVE, EDGE, 0.2, 0.4, 8, 0)]
    assert flights_of(trace_table(events))["end"].tolist() == [1.5]


@pytest.mark.parametrize("broken", [lambda trace: trace.drop(columns="peer"), lambda trace: trace.assign(peer=-1)])
def test_a_trace_without_receivers_is_refused(broken):
    with pytest.raises(ToolkitError, match="column peer"):
        flights_of(broken(tile_run().trace))


def test_arrows_in_one_column_do_not_touch():
    pairs = [(0, 3), (4, 5), (5, 6), (3, 2), (1, 0)]
    found = slots_of(pairs)
    for slot in set(found):
        rows = [row for pair, place in zip(pairs, found, strict=True) if place == slot for row in pair]
        assert len(rows) == len(set(rows))
    assert found == [0, 0, 1, 1, 1]
