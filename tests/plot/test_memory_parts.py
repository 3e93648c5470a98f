"""The memory of one rank by use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from support.plotted import LIMIT, MEGA, weight

from toolkit import plot
from toolkit.errors import ToolkitError
from toolkit.geometry import Schedule, ShardPlan, StagePlan, StageSplit
from toolkit.runs.run_tables import trace_table
from toolkit.runs.trace import Event, Kind, Label


class TestMemoryOfARank:
    def test_parts_add_up_to_the_curve(self, run):
        table = plot.memory(run, 1, weights=7).to_dataframe()
        curve = run.memory[run.memory["rank"] == 1]
        assert (table["weights (bytes)"] == 7).all()
        assert (table["held (bytes)"] + table["working (bytes)"]).tolist() == [0, *curve["bytes"]]

    def test_working_is_what_comes_on_top_while_computing(self, run):
        memory = pd.DataFrame(
            {
                "rank": 0,
                "time": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
                "bytes": [3, 9, 4, 20, 5, 6],
            }
        )
        rows = [Event(0, Kind.DECODE, Label(tile=0), 0.15, 0.35), Event(0, Kind.WAIT, Label(), 0.35, 0.45)]
        trace = trace_table([*rows, Event(1, Kind.DECODE, Label(tile=1), 0.0, 1.0)])
        table = plot.memory(replace(run, memory=memory, trace=trace), 0).to_dataframe()
        assert table["held (bytes)"].tolist() == [0, 3, 4, 4, 20, 5, 6]
        assert table["working (bytes)"].tolist() == [0, 0, 5, 0, 0, 0, 0]

    def test_shards_compute_in_one_stretch(self, run, sharded):
        trace = trace_table([Event(0, Kind.SHARD, Label(), start, start + 0.1) for start in (0.0, 0.2, 0.4)])
        memory = pd.DataFrame({"rank": 0, "time": [0.0, 0.15, 0.3], "bytes": [2, 8, 4]})
        table = plot.memory(replace(sharded(ShardPlan(h=2), trace), memory=memory), 0).to_dataframe()
        assert table["working (bytes)"].tolist() == [0, 6, 2]

    def test_areas_lie_on_each_other_and_end_at_the_curve(self, run):
        figure = plot.memory(run, 0, weights=10 * MEGA)
        weights, held, working, curve = figure.data
        assert [area.name for area in (weights, held, working)] == ["weights", "held", "working"]
        half = len(working.x) // 2
        np.testing.assert_array_equal(working.y[half:], held.y[:half][::-1])
        np.testing.assert_array_equal(held.y[half:], weights.y[:half][::-1])
        np.testing.assert_allclose(np.unique(working.y[:half]), np.unique(curve.y), rtol=1e-6)

    def test_the_limit_is_a_line_and_curves_hold_the_weights(self, run):
        figure = plot.memory(run, limit=300 * MEGA, weights=50 * MEGA)
        line = figure.data[-1]
        assert (line.name, list(line.y)) == ("limit 300 MB", [300, 300])
        plain = plot.memory(run)
        for lifted, curve in zip(figure.data[:-1], plain.data, strict=True):
            np.testing.assert_allclose(np.asarray(lifted.y) - 50, curve.y, rtol=1e-5)

    def test_weights_are_those_of_the_record(self, run):
        model = {"parameters": 3 * MEGA, "dtype": "torch.bfloat16"}
        known = replace(run, record=replace(run.record, model=model))
        assert (plot.memory(known, 0).to_dataframe()["weights (bytes)"] == 6 * MEGA).all()
        assert "weights included" in plot.memory(known, 0).layout.title.text
        assert (plot.memory(run, 0).to_dataframe()["weights (bytes)"] == 0).all()
        stages = StagePlan(StageSplit.even(16, 2), Schedule.looped(2, 2, 1))
        with pytest.raises(ToolkitError, match=r"limit=100: .* the record of Run.* does not say how many bytes"):
            plot.memory(replace(known, plan=stages), limit=100)

    def test_refusals(self, run, runs):
        with pytest.raises(ToolkitError, match=r"rank=5: .* measured ranks: 0, 1, 2"):
            plot.memory(run, 5)
        with pytest.raises(ToolkitError, match="measured ranks: none"):
            plot.memory(runs(None), 0)

    def test_long_curves_are_small_and_keep_their_peak(self, run):
        count = 100_000
        level = np.random.default_rng(0).integers(0, 1000, count)
        level[77_777] = 10**9
        memory = pd.DataFrame({"rank": 0, "time": np.arange(count) / 1e5, "bytes": level})
        figure = plot.memory(replace(run, memory=memory, peaks=pd.Series(dtype=float)), 0)
        assert weight(figure) < LIMIT
        assert figure.data[-1].y.max() == 1.0
