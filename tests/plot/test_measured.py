"""Figures of where time, bytes and memory went: their numbers are those of the run."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from toolkit import plot
from toolkit.analysis.scaling import CAUSES
from toolkit.errors import ToolkitError
from toolkit.geometry import Assignment, Blend, Schedule, ShardPlan, StagePlan, StageSplit, TileGrid, TilePlan
from toolkit.planning.cost import CallCost
from toolkit.planning.predict import rank_peaks
from toolkit.plot import scaling_curves, time_shares
from toolkit.runs.run_tables import trace_table
from toolkit.runs.trace import Event, Kind, Label

LIMIT = 500_000
MEGA = 1_000_000


def weight(figure: plot.Figure) -> int:
    """Bytes in a saved notebook."""
    return len(json.dumps(figure._repr_mimebundle_()))


class TestTileValues:
    def test_cost_is_the_cells_of_each_tile(self, run):
        (heat,) = plot.ranks(run.plan, "cost").data
        assert np.array(heat.z).flatten().tolist() == [tile.cells for tile in run.plan.grid.tiles]
        assert (heat.zmin, heat.zmax) == (0, 832)
        assert np.array(heat.text).flatten().tolist() == [str(owner) for owner in run.plan.assignment.owners]

    def test_time_is_what_each_tile_took_norms_and_all(self, run):
        longer = run.trace.copy()
        longer.loc[(longer["tile"] == 7) & (longer["kind"] == "decode"), "end"] += 0.25
        norms = trace_table([Event(1, Kind.NORMS, Label(tile=4, text="pass 0"), 0.0, 0.125)])
        figure = plot.ranks(replace(run, trace=pd.concat([longer, norms])), "time")
        expected = np.full(12, 100.0)
        expected[[4, 7]] = 225, 350
        np.testing.assert_allclose(np.array(figure.data[0].z).flatten(), expected, rtol=1e-6)
        np.testing.assert_allclose(figure.to_dataframe()["time computing (ms)"], expected)
        assert "time computing: 350 ms" in np.array(figure.data[0].hovertext).flatten()[7]

    def test_bytes_are_edges_and_shares_by_the_tile_that_they_leave(self, run):
        sent = trace_table([Event(1, Kind.SEND, Label(tile=11, purpose="share"), 0.0, 0.0, 50_000, 0)])
        figure = plot.ranks(replace(run, trace=pd.concat([run.trace, sent])), "bytes")
        assert figure.to_dataframe()["sent (kB)"].tolist() == [200.0] * 11 + [250.0]

    def test_shards_by_rank(self, sharded):
        stretches = [(0, 0.0, 0.5), (1, 0.0, 0.25), (1, 1.0, 1.5)]
        trace = trace_table([Event(rank, Kind.SHARD, Label(), start, end) for rank, start, end in stretches])
        figure = plot.ranks(sharded(ShardPlan(h=2), trace), "time")
        assert figure.to_dataframe()["time computing (ms)"].tolist() == [500.0, 750.0]

    def test_one_colour_bar_for_all_panels(self):
        grid = TileGrid.cover({"t": 11, "h": 9, "w": 16}, {"t": 5, "h": 9, "w": 9}, {"t": 1, "h": 0, "w": 2})
        panels = plot.ranks(TilePlan(grid, Blend.linear(), Assignment.round_robin(grid, 5)), "cost").data
        assert [panel.showscale for panel in panels] == [True] + [False] * (len(panels) - 1)
        assert len({panel.zmax for panel in panels}) == 1

    def test_refusals(self, run):
        for show in ("time", "bytes"):
            with pytest.raises(ToolkitError, match=f"show='{show}' is measured, and a plan has not run yet"):
                plot.ranks(run.plan, show)
        with pytest.raises(ToolkitError, match="show='speed': must be one of owner, cost, time, bytes"):
            plot.ranks(run, "speed")

    def test_large(self, large):
        for show in ("time", "bytes"):
            assert weight(plot.ranks(large, show)) < LIMIT


class TestUtilisation:
    def test_bars_lie_end_to_end_from_0_to_100(self, run):
        figure = plot.utilisation(run)
        for rank in range(3):
            parts = [(bar.base[list(bar.y).index(rank)], bar.x[list(bar.y).index(rank)]) for bar in figure.data]
            ends = np.cumsum([length for _, length in parts])
            np.testing.assert_allclose([base for base, _ in parts], [0, *ends[:-1]], atol=1e-4)
            assert ends[-1] == pytest.approx(100, abs=1e-4)

    def test_seconds_of_the_table(self, run):
        row = plot.utilisation(run).to_dataframe().loc[0]
        # Four tiles of 0.1 s and a blend of 0.03; sends lie within tiles; the run ends at 1 s.
        expected = {"compute (s)": 0.43, "send (s)": 0, "receive (s)": 0.01, "wait (s)": 0.05, "other (s)": 0.51}
        assert row.drop("rank").to_dict() == pytest.approx(expected, abs=1e-9)

    def test_uses_look_different(self):
        assert len(set(time_shares.STYLES.values())) == len(time_shares.STYLES)
        assert set(scaling_curves.STYLES) == set(CAUSES)
        assert len({colour for colour, _ in scaling_curves.STYLES.values()}) == len(CAUSES)

    def test_large(self, large):
        figure = plot.utilisation(large)
        assert weight(figure) < 100_000
        assert "64 ranks" in figure.describe()


class TestCommunication:
    def test_cells_are_what_was_sent(self, run):
        (heat,) = plot.communication(run).data
        expected = np.full((3, 3), np.nan)
        for rank in range(3):
            expected[rank, (rank + 1) % 3] = 800
        np.testing.assert_array_equal(heat.z, expected)
        assert heat.customdata.sum() == 12
        assert list(heat.text[0]) == ["", "800", ""]

    @pytest.mark.parametrize("ranks", [1, 2, 5])
    @pytest.mark.parametrize("overlap", [8, 20])
    def test_a_plan_s_messages_are_all_that_it_moves(self, ranks, overlap):
        grid = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=overlap)
        plan = TilePlan(grid, Blend.linear(), Assignment.contiguous(grid, ranks), root=ranks - 1)
        table = plot.communication(plan).to_dataframe()
        assert table["latent cells"].sum() == plan.moved
        for cost in plan.costs:
            assert table.loc[table["from rank"] == cost.rank, "latent cells"].sum() == cost.sent
            assert table.loc[table["to rank"] == cost.rank, "latent cells"].sum() == cost.received
        assert plot.communication(plan, 768).to_dataframe()["bytes"].sum() == plan.bytes_moved(768)

    def test_refusals(self, run):
        with pytest.raises(ToolkitError, match="does not say who receives"):
            plot.communication(run.trace.drop(columns="peer"))
        with pytest.raises(ToolkitError, match="cell_bytes=4: the bytes of a run are measured"):
            plot.communication(run, 4)

    def test_large(self, large):
        figure = plot.communication(large)
        assert weight(figure) < LIMIT
        assert figure.data[0].text is None
        assert len(figure.layout.xaxis.tickvals) == 16


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


class TestPeakMemory:
    cost = CallCost(working_bytes=200_000, output_bytes=768, weight_bytes=MEGA, seconds=0.0)

    def test_a_bar_and_a_mark_for_each_rank(self, run):
        bars, marks = plot.peak_memory(run, self.cost).data
        np.testing.assert_allclose(bars.y, run.peaks / MEGA, rtol=1e-6)
        np.testing.assert_allclose(marks.y, np.array(run.plan.peaks(768, 200_000)) / MEGA, rtol=1e-6)
        assert len(set(bars.marker.color)) == 3

    def test_of_several_runs_the_highest_rank(self, run):
        higher = replace(run, peaks=run.peaks + np.array([0, 5 * MEGA, 0]))
        figure = plot.peak_memory([run, higher])
        (bars,) = figure.data
        assert bars.y.tolist() == pytest.approx([run.peaks[0] / MEGA, higher.peaks[1] / MEGA])
        assert "rank 1" in figure.describe()
        assert figure.layout.xaxis.ticktext == ("tile 26 x 32<br>3 ranks",) * 2
        assert len(figure.to_dataframe()) == 6

    def test_shards_and_the_whole_are_predicted_too(self, sharded, runs):
        peaks = pd.Series([2 * MEGA, MEGA])
        two = replace(sharded(ShardPlan(h=2), shape=(1, 4, 6, 5)), peaks=peaks)
        whole = replace(two, plan=None, peaks=peaks[:1])
        table = plot.peak_memory([two, whole], self.cost).to_dataframe()
        assert table["predicted (bytes)"].tolist() == [
            15 * 200_000 * 1.3 + 30 * 768,
            15 * 200_000 * 1.3,
            30 * 200_000,
        ]

    def test_frames_share_a_cell_s_cost(self):
        grid = TileGrid.cover({"t": 4, "h": 8, "w": 8}, {"t": 4, "h": 8, "w": 8})
        plan = TilePlan(grid, Blend.linear(), Assignment.balanced(grid, 1))
        assert rank_peaks(plan, dict(grid.extent), self.cost) == (64 * 200_000 + 64 * 768,)

    def test_refusals(self, runs):
        with pytest.raises(ToolkitError, match="no runs: there is no measured peak"):
            plot.peak_memory([])
        with pytest.raises(ToolkitError, match="no measured peak to draw; run with memory=True"):
            plot.peak_memory(runs(None))

    def test_large(self, large):
        assert weight(plot.peak_memory(large, self.cost)) < LIMIT


class TestScaling:
    def test_bars_are_stacked_from_0_and_gains_go_down(self, run):
        grid = run.plan.grid
        alone = replace(
            run,
            plan=TilePlan(grid, Blend.linear(), Assignment.balanced(grid, 1)),
            trace=trace_table([Event(0, Kind.DECODE, Label(tile=0), 0.0, 4.0)]),
            seconds=4.5,
        )
        figure = plot.scaling([alone, run])
        table = figure.to_dataframe()
        bars = [trace for trace in figure.data if trace.type == "bar"]
        assert [bar.name for bar in bars] == list(CAUSES)
        for place in range(2):
            up = sum(bar.y[place] for bar in bars if bar.y[place] > 0)
            down = sum(bar.y[place] for bar in bars if bar.y[place] < 0)
            ends = [bar.base[place] + bar.y[place] for bar in bars]
            assert (max(0, *ends), min(0, *ends)) == (pytest.approx(up, abs=1e-4), pytest.approx(down, abs=1e-4))
            assert up + down == pytest.approx(100 * (1 - table["efficiency"][place]), abs=1e-4)
        assert table["extra computing"][1] < 0
        curve = figure.data[1]
        np.testing.assert_allclose(2**curve.y, [1.0, 4.5])
        assert figure.data[0].x == figure.data[0].y == (0.0, np.log2(3))
