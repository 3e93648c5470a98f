"""Speed-up and lost time: bars that are stacked exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from toolkit import plot
from toolkit.analysis.scaling import CAUSES
from toolkit.geometry import Assignment, Blend, TilePlan
from toolkit.runs.run_tables import trace_table
from toolkit.runs.trace import Event, Kind, Label


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
