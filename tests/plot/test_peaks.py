"""Peak memory beside its prediction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from support.plotted import LIMIT, MEGA, weight

from toolkit import plot
from toolkit.errors import ToolkitError
from toolkit.geometry import ShardPlan


class TestPeakMemory:
    def test_a_bar_and_a_mark_for_each_rank(self, run):
        bars, marks = plot.peak_memory(run, replace(run, peaks=run.peaks * 1.02)).data
        np.testing.assert_allclose(bars.y, run.peaks / MEGA, rtol=1e-6)
        np.testing.assert_allclose(marks.y, run.peaks * 1.02 / MEGA, rtol=1e-6)
        assert len(set(bars.marker.color)) == 3
        assert "1.02 times the measured peak" in bars.hovertext[0]

    def test_of_several_runs_the_highest_rank(self, run):
        higher = replace(run, peaks=run.peaks + np.array([0, 5 * MEGA, 0]))
        figure = plot.peak_memory([run, higher])
        (bars,) = figure.data
        assert bars.y.tolist() == pytest.approx([run.peaks[0] / MEGA, higher.peaks[1] / MEGA])
        assert "rank 1" in figure.describe()
        assert figure.layout.xaxis.ticktext == ("tile 26 x 32<br>3 ranks",) * 2
        assert len(figure.to_dataframe()) == 6

    def test_rehearsals_stand_beside_their_runs(self, sharded):
        peaks = pd.Series([2 * MEGA, MEGA])
        two = replace(sharded(ShardPlan(h=2), shape=(1, 4, 6, 5)), peaks=peaks)
        whole = replace(two, plan=None, peaks=peaks[:1])
        predicted = [replace(two, peaks=peaks + 10), replace(whole, peaks=peaks[:1] - 20)]
        table = plot.peak_memory([two, whole], predicted).to_dataframe()
        assert table["predicted (bytes)"].tolist() == [2 * MEGA + 10, MEGA + 10, 2 * MEGA - 20]
        with pytest.raises(ToolkitError, match="give the rehearsal of each run, in the same order"):
            plot.peak_memory([two, whole], predicted[::-1])
        with pytest.raises(ToolkitError, match="give the rehearsal of each run"):
            plot.peak_memory(whole, predicted[0])

    def test_refusals(self, runs):
        with pytest.raises(ToolkitError, match="no runs: there is no measured peak"):
            plot.peak_memory([])
        with pytest.raises(ToolkitError, match="no measured peak to draw; run with memory=True"):
            plot.peak_memory(runs(None))

    def test_large(self, large):
        assert weight(plot.peak_memory(large, large)) < LIMIT
