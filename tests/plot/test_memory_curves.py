"""Memory over time: curves, and peaks that thinning keeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from support.plotted import LIMIT, weight

from toolkit import plot
from toolkit.errors import ToolkitError


class TestMemory:
    def test_curves_and_true_peaks(self, run):
        figure = plot.memory(run)
        lines = [trace for trace in figure.data if trace.mode == "lines"]
        marks = [trace for trace in figure.data if trace.mode == "markers"]
        assert [line.name for line in lines] == [
            f"rank {rank}, peak {run.peaks[rank] / 1e6:.3g} MB" for rank in range(3)
        ]
        assert all(line.line.shape == "hv" for line in lines)
        assert [mark.y[0] for mark in marks] == [pytest.approx(run.peaks[rank] / 1e6) for rank in range(3)]
        assert figure.layout.yaxis.title.text == "allocated (MB)"

    def test_thinning_keeps_the_highest_point(self, run):
        count = 100_000
        level = np.zeros(count, np.int64)
        level[77_777] = 5_000_000_000
        memory = pd.DataFrame({"rank": 0, "time": np.arange(count) / 1e4, "bytes": level})
        object.__setattr__(run, "memory", memory)
        object.__setattr__(run, "peaks", pd.Series(dtype=float))
        line, mark = plot.memory(run).data
        assert len(line.x) <= 16_001
        assert line.y.max() == mark.y[0] == 5.0
        assert mark.x[0] == pytest.approx(7.7777)
        assert line.x[-1] == pytest.approx((count - 1) / 1e4)

    def test_not_measured(self, runs):
        figure = plot.memory(runs(None))
        assert figure.layout.annotations[0].text == "memory was not measured"
        assert len(figure.to_png()) > 1000

    def test_large(self, large):
        figure = plot.memory(large)
        assert weight(figure) < LIMIT
        listed = [trace for trace in figure.data if trace.showlegend]
        assert len(listed) == 8
        assert min(int(t.legendgroup) for t in listed) >= 0


@pytest.mark.parametrize("given", [{"limit": 0}, {"limit": 100, "weights": -1}])
def test_a_limit_and_weights_are_numbers_of_bytes(run, given):
    with pytest.raises(ToolkitError, match="must be a"):
        plot.memory(run, **given)
