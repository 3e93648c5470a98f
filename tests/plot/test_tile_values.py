"""A number per tile or shard: cost, time or bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from support.plotted import LIMIT, weight

from toolkit import plot
from toolkit.errors import ToolkitError
from toolkit.geometry import Assignment, Blend, ShardPlan, TileGrid, TilePlan
from toolkit.runs.run_tables import trace_table
from toolkit.runs.trace import Event, Kind, Label


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

    def test_shards_in_blocks_show_what_their_own_rank_took(self, sharded):
        trace = trace_table([Event(rank, Kind.SHARD, Label(), 0.0, 0.1 * (rank + 1)) for rank in range(4)])
        figure = plot.ranks(sharded(ShardPlan(h=2, w=2, block=(2, 1)), trace), "time")
        assert figure.to_dataframe()["rank"].tolist() == [0, 2, 1, 3]
        assert figure.to_dataframe()["time computing (ms)"].round(6).tolist() == [100.0, 300.0, 200.0, 400.0]

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
