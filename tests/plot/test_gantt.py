"""The timeline: its bars are the events."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from support.plotted import LIMIT, weight

from toolkit import plot
from toolkit.plot.gantt import STYLES


class TestTimeline:
    def test_bars_are_the_events(self, run):
        figure = plot.timeline(run)
        for bars in figure.data:
            events = run.trace[run.trace["kind"] == bars.name]
            assert bars.y.tolist() == events["rank"].tolist()
            np.testing.assert_allclose(bars.base, events["start"] * 1000, rtol=1e-6)
            np.testing.assert_allclose(bars.x, (events["end"] - events["start"]) * 1000, rtol=1e-5)
        assert sum(len(bars.x) for bars in figure.data) == len(run.trace)
        assert figure.layout.xaxis.title.text.endswith("(ms)")
        assert list(figure.layout.yaxis.ticktext) == ["rank 0", "rank 1", "rank 2"]

    def test_seconds_from_one_second_on(self, run):
        slow = run.trace.assign(start=run.trace["start"] * 10, end=run.trace["end"] * 10)
        figure = plot.timeline(slow)
        assert figure.layout.xaxis.title.text.endswith("(s)")
        assert figure.layout.xaxis.range[1] == pytest.approx(slow["end"].max())

    def test_no_two_kinds_look_alike(self, run):
        assert len({colour for colour, _ in STYLES.values()}) == len(STYLES) - 3
        assert STYLES["decode"] == STYLES["encode"] == STYLES["shard"] == STYLES["stage"]
        figure = plot.timeline(run)
        waits = next(bars for bars in figure.data if bars.name == "wait")
        assert waits.marker.color.startswith("rgba(127,127,127")
        assert waits.marker.pattern.shape == "/"
        assert [bars.name for bars in figure.data] == ["decode", "blend", "send", "receive", "wait"]

    def test_unknown_kinds_are_drawn(self):
        trace = pd.DataFrame(
            [(0, "load", "weights", 0.0, 1.0, 0)], columns=["rank", "kind", "label", "start", "end", "bytes"]
        )
        assert plot.timeline(trace).data[0].name == "load"

    def test_empty(self, run):
        figure = plot.timeline(run.trace[:0])
        assert figure.layout.annotations[0].text == "the trace holds no events"
        assert figure.to_png() == plot.timeline(run.trace[:0]).to_png()

    def test_large(self, large):
        assert weight(plot.timeline(large)) < LIMIT

    def test_many_brief_events_are_joined(self):
        count = 10_000
        start = np.arange(count) * 1e-4
        trace = pd.DataFrame({"rank": np.arange(count) // 5000, "kind": "send", "label": "edge", "start": start})
        trace = trace.assign(end=start + 1e-4, bytes=10)
        bars = plot.timeline(trace).data[0]
        assert len(bars.x) == 2
        assert bars.hovertext[0] == "edge, 5000 events, 50 kB"
        assert float(bars.x.sum()) == pytest.approx(trace["end"].max(), rel=1e-3)

    def test_long_events_are_never_joined(self):
        count = 9000
        trace = pd.DataFrame({"rank": np.arange(count), "kind": "decode", "label": "tile", "start": 0.0, "end": 1.0})
        assert len(plot.timeline(trace.assign(bytes=0)).data[0].x) == count
