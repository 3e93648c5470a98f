"""The events of a denoising loop, as tables."""

from __future__ import annotations

import pytest

from toolkit.analysis.stage_events import hops, loop_events
from toolkit.errors import ToolkitError
from toolkit.runs.run_tables import trace_table
from toolkit.runs.trace import Event, Kind, Label


def test_messages_that_nobody_waited_for_say_nothing_of_the_link():
    events = [
        Event(0, Kind.STAGE, Label(chunk=0, branch=0, step=0), 0.0, 1.0),
        Event(1, Kind.STAGE, Label(chunk=1, branch=1, step=0), 0.0, 5.0),
        Event(1, Kind.RECEIVE, Label(chunk=0, branch=0, step=0), 5.0, 5.5),
        Event(1, Kind.STAGE, Label(chunk=1, branch=0, step=0), 5.5, 6.0),
        Event(0, Kind.WAIT, Label(branch=0, step=0), 2.0, 6.5),
    ]
    assert hops(loop_events(trace_table(events))).tolist() == [0.5]


def test_a_trace_without_stages_is_refused():
    with pytest.raises(ToolkitError, match="the trace has no stages"):
        loop_events(
            trace_table(
                [Event(0, Kind.DECODE, Label(tile=0), 0.0, 1.0), Event(0, Kind.WAIT, Label(branch=0, step=0), 0.0, 1.0)]
            )
        )


def test_a_trace_without_the_columns_of_labels_is_refused():
    trace = trace_table([Event(0, Kind.STAGE, Label(chunk=0, branch=0, step=0), 0.0, 1.0)])
    with pytest.raises(ToolkitError, match="from an older version: run again"):
        loop_events(trace.drop(columns=["branch", "chunk", "step", "expert"]))
