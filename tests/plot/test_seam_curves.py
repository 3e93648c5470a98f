"""The error against the distance to a seam."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.plotted import GRID, comparison

from toolkit import plot
from toolkit.analysis.compare import compare
from toolkit.errors import ToolkitError
from toolkit.geometry import TileGrid


class TestSeamProfile:
    def test_lines_are_the_profile(self):
        found = comparison()
        figure = plot.seam_profile(found, "w", reach=10)
        profile = found.seam_profile("w", 10)
        line, floor = figure.data
        assert tuple(line.x) == profile.distance
        np.testing.assert_allclose(line.y, [level.mean for level in profile.levels], rtol=1e-6)
        assert floor.y[0] == floor.y[1] == profile.interior.mean
        assert floor.line.dash == "dash"
        assert floor.line.color == line.line.color
        assert figure.layout.xaxis.title.text == "distance to the nearest seam along w (sample px)"

    @pytest.mark.parametrize("statistic", ["mean", "p99", "max"])
    def test_statistics(self, statistic):
        found = comparison()
        line = plot.seam_profile(found, reach=5, statistic=statistic).data[0]
        expected = [getattr(level, statistic) for level in found.seam_profile("w", 5).levels]
        np.testing.assert_allclose(line.y, expected, rtol=1e-6)

    def test_a_line_per_comparison(self):
        figure = plot.seam_profile([comparison(0.1 * i, f"c{i}") for i in range(1, 4)])
        assert [t.name for t in figure.data if t.name] == ["c1", "c2", "c3"]
        assert len({t.line.color for t in figure.data}) == 3
        assert "against untiled" in figure.layout.title.text

    def test_different_references_are_named(self):
        a = torch.zeros(1, 3, 48, 80)
        both = [compare(a + 0.1, a, GRID, name="x", reference_name=name) for name in ("one", "two")]
        assert [t.name for t in plot.seam_profile(both).data if t.name] == ["x vs one", "x vs two"]

    def test_no_error(self):
        a = torch.zeros(1, 3, 48, 80)
        figure = plot.seam_profile(compare(a, a, GRID, name="same"))
        assert figure.data[0].name == "same (no error)"
        assert figure.layout.annotations[0].text == "no error at any distance"
        assert len(figure.to_png()) > 1000

    def test_axis_is_the_last_common_one_with_a_seam(self):
        a = torch.zeros(1, 3, 48, 80)
        tall = compare(a + 0.1, a, TileGrid.cover({"h": 12, "w": 20}, tile={"h": 6, "w": 20}))
        assert "along h" in plot.seam_profile([comparison(), tall]).layout.xaxis.title.text

    def test_refusals(self):
        with pytest.raises(ToolkitError, match="there are no comparisons"):
            plot.seam_profile([])
        with pytest.raises(ToolkitError, match="has no grid"):
            plot.seam_profile(comparison(grid=None))
        with pytest.raises(ToolkitError, match="no axis along which"):
            plot.seam_profile(comparison(grid=TileGrid.cover({"h": 12, "w": 20}, tile=20)))
        with pytest.raises(ToolkitError, match="statistic='median'"):
            plot.seam_profile(comparison(), statistic="median")

    def test_the_scale_has_labels_however_flat_the_curve(self):
        a = torch.zeros(1, 3, 48, 80)
        figure = plot.seam_profile(compare(a + 0.03, a, GRID))
        np.testing.assert_allclose(10 ** np.array(figure.layout.yaxis.range), [0.02, 0.05])

    def test_long_names_get_room_above_the_curves(self):
        few, many = (plot.seam_profile([comparison(0.1, f"{i} " * 30) for i in range(n)]) for n in (1, 4))
        assert many.layout.margin.t > few.layout.margin.t
        assert few.layout.legend.orientation == "h"


def test_reach_is_a_count():
    with pytest.raises(ToolkitError, match="reach=0: must be an int of at least 1"):
        plot.seam_profile(comparison(), reach=0)
