"""Who sends how much to whom, measured and predicted."""

from __future__ import annotations

import numpy as np
import pytest
from support.plotted import LIMIT, weight

from toolkit import plot
from toolkit.errors import ToolkitError
from toolkit.geometry import Assignment, Blend, ShardPlan, TileGrid, TilePlan


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


def test_bytes_per_cell_are_a_count(run):
    with pytest.raises(ToolkitError, match="cell_bytes=0: must be an int of at least 1"):
        plot.communication(run.plan, 0)


def test_messages_that_depend_on_the_model_are_refused():
    with pytest.raises(ToolkitError, match="the messages of 2 x 1 shards depend on the model"):
        plot.communication(ShardPlan(h=2))
