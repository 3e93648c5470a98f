"""Peak memory beside its prediction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from support.plotted import LIMIT, MEGA, weight

from toolkit import plot
from toolkit.errors import ToolkitError
from toolkit.geometry import Assignment, Blend, ShardPlan, TileGrid, TilePlan
from toolkit.planning.cost import CallCost
from toolkit.planning.predict import rank_peaks


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
        assert rank_peaks(plan, dict(grid.extent), cost=self.cost) == (64 * 200_000 + 64 * 768,)

    def test_refusals(self, runs):
        with pytest.raises(ToolkitError, match="no runs: there is no measured peak"):
            plot.peak_memory([])
        with pytest.raises(ToolkitError, match="no measured peak to draw; run with memory=True"):
            plot.peak_memory(runs(None))

    def test_large(self, large):
        assert weight(plot.peak_memory(large, self.cost)) < LIMIT
