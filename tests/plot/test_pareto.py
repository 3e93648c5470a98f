"""The front that no other configuration beats."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.plotted_sweeps import marks

from toolkit import plot
from toolkit.errors import ToolkitError
from toolkit.plot.pareto import unbeaten


class TestPareto:
    @given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=30))
    def test_unbeaten_by_the_definition(self, rows):
        def beats(a, b):
            return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

        wanted = [not any(beats(other, row) for other in rows) for row in rows]
        assert unbeaten(np.array(rows, float)).tolist() == wanted

    def test_more_psnr_is_better_and_strong_marks_are_the_front(self, table):
        figure = plot.pareto(table)
        twin = figure.to_dataframe()
        done = table["status"] == "done"
        costs = np.column_stack([table["seconds"], table["peak bytes"], -table["psnr"]])[done]
        assert twin["unbeaten"][done].tolist() == unbeaten(costs).tolist()
        assert not twin["unbeaten"][~done].any()
        strong = sum(len(mark.x) for mark in marks(figure) if mark.marker.size == 12)
        assert strong == twin["unbeaten"].sum() > 0
        worse = plot.pareto(table, maximise=()).to_dataframe()["unbeaten"]
        assert worse.tolist() != twin["unbeaten"].tolist()

    def test_failed_rows_stand_above_the_data(self, table):
        figure = plot.pareto(table)
        lane = next(mark for mark in marks(figure) if mark.marker.symbol == "x")
        assert lane.name == "2 failed, 6 out of memory"
        assert len(lane.x) == 8
        others = np.concatenate([mark.y for mark in marks(figure) if mark is not lane])
        assert min(lane.y) > others.max()
        (low, high), (left, right) = figure.layout.yaxis.range, figure.layout.xaxis.range
        assert all(low < y < high for y in lane.y)
        assert all(left < x < right for x in lane.x)

    def test_wide_numbers_take_a_log_axis(self):
        rows = pd.DataFrame({"tile": [1, 2], "seconds": [0.1, 100.0], "peak bytes": [1e6, 2e6]})
        rows = rows.assign(status=["done", "done"])
        figure = plot.pareto(rows, parameters=["tile"])
        assert figure.layout.xaxis.type == "log"
        assert figure.layout.xaxis.title.text == "time (s), log"
        assert figure.layout.xaxis.range[0] < -1 < 2 < figure.layout.xaxis.range[1]
        assert figure.layout.yaxis.type is None

    def test_shapes(self, table):
        figure = plot.pareto(table, shape="blend")
        shown = {mark.name: mark.marker.symbol for mark in marks(figure) if mark.showlegend}
        assert shown == {"blend linear": "circle", "blend cosine": "square", "2 failed, 6 out of memory": "x"}
        with pytest.raises(ToolkitError, match="shape='seconds'"):
            plot.pareto(table.assign(seconds=np.arange(18.0)), shape="seconds")

    def test_says_what_is_seen(self, table):
        told = plot.pareto(table).describe()
        assert told.startswith("18 configurations by time and peak and psnr: 10 done, 2 failed, 6 out of memory; ")
        assert "(tile 16, overlap 8, blend Blend.linear())" in told
