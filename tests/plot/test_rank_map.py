"""The map from tiles or shards to ranks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from support.plotted import LIMIT, weight

from toolkit import plot
from toolkit.errors import ToolkitError
from toolkit.geometry import Assignment, Blend, Schedule, ShardPlan, StagePlan, StageSplit, TileGrid, TilePlan
from toolkit.geometry.drawing.palette import rank_colour


class TestRanks:
    def test_cores_are_coloured_and_numbered_by_rank(self, run):
        heat = plot.ranks(run).data[0]
        owners = run.plan.assignment.owners
        assert np.array(heat.text).flatten().tolist() == [str(owner) for owner in owners]
        assert np.array(heat.z).flatten().tolist() == [owner % 8 for owner in owners]
        for place, (_, colour) in enumerate(heat.colorscale):
            assert colour == rank_colour(place // 2)

    def test_cells_are_the_cores(self, run):
        heat = plot.ranks(run).data[0]
        columns = sorted(
            {bound for tile in run.plan.grid.tiles for bound in (tile.core["w"].start, tile.core["w"].stop)}
        )
        assert list(heat.x) == columns

    def test_hover_names_tile_rank_spans_and_cells(self, run):
        text = np.array(plot.ranks(run).data[0].hovertext).flatten()[5]
        owner = run.plan.assignment.owners[5]
        assert text.split("<br>") == [
            f"<b>tile 5, rank {owner}</b>",
            "h 17:43, core 21:38",
            "w 24:56, core 28:52",
            "832 cells",
        ]

    def test_overlap_bands(self, run):
        across = plot.ranks(run).data[1]
        spans = run.plan.grid.rows[1]
        ends = {(b.start, a.stop) for a, b in pairwise(spans)}
        parts = np.split(across.x, np.flatnonzero(np.isnan(across.x)) + 1)
        assert {(np.nanmin(part), np.nanmax(part)) for part in parts if len(part)} == ends

    def test_a_panel_for_each_place_in_time(self):
        grid = TileGrid.cover({"t": 11, "h": 9, "w": 16}, {"t": 5, "h": 9, "w": 9}, {"t": 1, "h": 0, "w": 2})
        plan = TilePlan(grid, Blend.linear(), Assignment.round_robin(grid, 5))
        figure = plot.ranks(plan)
        heats = [trace for trace in figure.data if trace.type == "heatmap"]
        assert [note.text for note in figure.layout.annotations] == [f"t {span}" for span in grid.rows[0]]
        numbers = [text for heat in heats for text in np.array(heat.text).flatten()]
        assert numbers == [str(owner) for owner in plan.assignment.owners]
        assert len({heat.x[0] for heat in heats}) == len(heats)

    @pytest.mark.parametrize("extent", [{"w": 40}, {"t": 9}, {"h": 40}, {"t": 9, "h": 20}])
    def test_fewer_axes(self, extent):
        grid = TileGrid.cover(extent, tile=6, overlap=2)
        figure = plot.ranks(TilePlan(grid, Blend.linear(), Assignment.round_robin(grid, 2)))
        assert sum(np.array(t.z).size for t in figure.data if t.type == "heatmap") == len(grid)

    def test_one_tile_on_one_rank(self):
        grid = TileGrid.cover({"h": 7, "w": 11}, tile=16)
        figure = plot.ranks(TilePlan(grid, Blend.linear(), Assignment.balanced(grid, 1)))
        assert "overlap" not in figure.layout.title.text
        assert (
            figure.describe()
            == "1 tile on 1 rank, 1 tiles per rank; 1.00x the work of the untiled call, imbalance 1.00."
        )

    def test_dense_rows_are_numbered_once_a_stretch(self):
        grid = TileGrid.cover({"h": 200, "w": 400}, tile=4)
        plan = TilePlan(grid, Blend.linear(), Assignment.contiguous(grid, 12))
        numbers = {text for text in np.array(plot.ranks(plan).data[0].text).flatten() if text}
        assert numbers == {str(rank) for rank in range(12)}

    def test_a_run_without_tiles(self, runs):
        with pytest.raises(ToolkitError, match="there are no parts to draw"):
            plot.ranks(runs(None))

    def test_large(self, large):
        assert weight(plot.ranks(large)) < LIMIT


class TestShards:
    @pytest.mark.parametrize(("call", "shape"), [("decode", [1, 16, 11, 9]), ("encode", [1, 3, 5, 91, 72])])
    def test_a_run_in_shards(self, sharded, call, shape):
        figure = plot.ranks(sharded(ShardPlan(h=3, w=2), call=call, shape=shape))
        assert (
            figure.describe()
            == "6 shards on 6 ranks, one per rank; 1.00x the work of the untiled call, imbalance 1.21."
        )
        (heat,) = figure.data
        assert (list(heat.y), list(heat.x)) == ([0, 4, 8, 11], [0, 5, 9])
        assert np.array(heat.text).flatten().tolist() == list("012345")
        assert heat.hovertext[2][1].split("<br>") == ["<b>shard 5, rank 5</b>", "h 8:11", "w 5:9", "12 cells"]

    def test_shards_without_an_extent(self, sharded):
        for given in (ShardPlan(h=2), sharded(ShardPlan(h=2), call=None)):
            with pytest.raises(ToolkitError, match=r"ShardPlan\(2 x 1 .* does not say how large the map is: .*as_grid"):
                plot.ranks(given)


def test_anything_but_a_plan_or_a_run_is_refused():
    with pytest.raises(ToolkitError, match="draws a plan or a run, not an int"):
        plot.ranks(3)


def test_stages_have_no_parts_of_a_latent():
    stages = StagePlan(StageSplit.even(8, 2), Schedule.interleaved(2, 2))
    with pytest.raises(ToolkitError, match="2 stages over 2 ranks does not divide the latent"):
        plot.ranks(stages)
