"""One axis of parallel coordinates."""

from __future__ import annotations

import numpy as np
import pandas as pd
from support.plotted_sweeps import INFINITE

from toolkit.plot.sweep_axis import Axis


class TestAxis:
    def test_ladder_and_scale(self):
        assert Axis.ladder("tile", pd.Series([8, 32, 16, 8])).places.tolist() == [0.0, 1.0, 0.5, 0.0]
        assert Axis.ladder("blend", pd.Series(["b", "a"])).ticks == ((0.0, "b"), (1.0, "a"))
        assert Axis.ladder("one", pd.Series([3, 3])).places.tolist() == [0.5, 0.5]
        assert Axis.ladder("many", pd.Series(range(101))).ticks[1] == (0.25, "25")
        wide = Axis.scale("cost", pd.Series([1.0, 10.0, 1000.0, np.nan]))
        np.testing.assert_allclose(wide.places, [0, 1 / 3, 1, np.nan])
        assert wide.title == "cost, log"
        assert [text for _, text in wide.ticks] == ["1", "5.62", "31.6", "178", "1e+03"]
        assert Axis.scale("same", pd.Series([2.0, 2.0])).places.tolist() == [0.5, 0.5]
        assert Axis.scale("psnr", pd.Series([INFINITE, INFINITE])).places.tolist() == [1.0, 1.0]
        assert Axis.scale("peak bytes", pd.Series([1e6, 5e6])).ticks[-1] == (1.0, "5")
