"""How ranks spent their time."""

from __future__ import annotations

import numpy as np
import pytest
from support.plotted import weight

from toolkit import plot
from toolkit.analysis.scaling import CAUSES
from toolkit.plot import scaling_curves, time_shares


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
