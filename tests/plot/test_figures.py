"""Each figure: what it says, that it is the same twice, small, and shown where plotly is not."""

import base64
import copy
import json
import pickle
from dataclasses import replace
from io import BytesIO
from itertools import pairwise

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from toolkit import plot
from toolkit.analysis.compare import Comparison, compare
from toolkit.errors import ToolkitError
from toolkit.geometry import Assignment, Blend, Schedule, TileGrid, TilePlan
from toolkit.geometry.drawing.palette import contrast, rank_colour
from toolkit.planning.cost import CallCost
from toolkit.plot.gantt import STYLES
from toolkit.plot.seam_image import LEVELS, LIMITS
from toolkit.plot.theme import THEMES, template
from toolkit.runs.run_tables import trace_table
from toolkit.runs.trace import Event, Kind, Label

LIMIT = 500_000
GRID = TileGrid.cover({"h": 12, "w": 20}, tile=8, overlap=2)
COST = CallCost(working_bytes=270_000, output_bytes=768, weight_bytes=0, seconds=0.0)
HALOS = trace_table(
    [
        Event(0, Kind.SEND, Label(purpose="halo h", module="conv"), 0.0, 0.1, 4000, 1),
        Event(1, Kind.SEND, Label(purpose="halo h", module="conv"), 0.0, 0.2, 4000, 0),
    ]
)


def comparison(scale: float = 0.02, name: str = "tiled", grid: TileGrid | None = GRID) -> Comparison:
    random = torch.Generator().manual_seed(0)
    a = torch.randn(1, 3, 48, 80, generator=random) * 0.3
    b = a + scale * torch.randn(1, 3, 48, 80, generator=random)
    return compare(b, a, grid, name=name, reference_name="untiled")


def every_figure(run, theme="neutral") -> dict[str, plot.Figure]:
    one = comparison()
    alone = replace(
        run,
        plan=TilePlan(run.plan.grid, Blend.linear(), Assignment.balanced(run.plan.grid, 1)),
        trace=run.trace.assign(rank=0),
        seconds=1.5,
    )
    return {
        "ranks": plot.ranks(run, theme=theme),
        "ranks by cost": plot.ranks(run.plan, "cost", theme=theme),
        "ranks by time": plot.ranks(run, "time", theme=theme),
        "ranks by bytes": plot.ranks(run, "bytes", theme=theme),
        "timeline": plot.timeline(run, theme=theme),
        "utilisation": plot.utilisation(run, theme=theme),
        "communication": plot.communication(run, theme=theme),
        "communication of a plan": plot.communication(run.plan, 768, theme=theme),
        "memory": plot.memory(run, theme=theme),
        "memory and its limit": plot.memory(run, limit=10**9, weights=10**8, theme=theme),
        "memory of a rank": plot.memory(run, 1, limit=10**9, weights=10**8, theme=theme),
        "peak memory": plot.peak_memory(run, COST, theme=theme),
        "peak memory of runs": plot.peak_memory([run, run], COST, theme=theme),
        "scaling": plot.scaling([run, alone], theme=theme),
        "schedule": plot.schedule(Schedule.looped(2, 2, 2), [0.25] * 4, theme=theme),
        "halos": plot.halos(HALOS, theme=theme),
        "seams": plot.seams(one, theme=theme),
        "signed seams": plot.seams(one, signed=True, theme=theme),
        "seams of frames": plot.seams(video(), 1, frames=range(3), theme=theme),
        "seam_profile": plot.seam_profile([one, comparison(0.1, "coarse")], theme=theme),
        "compare": plot.compare(video(), theme=theme),
        "compare by wiping": plot.compare(video(), mode="wipe", theme=theme),
    }


def video(frames: int = 3, side: int = 32, scale: float = 0.02) -> Comparison:
    """Frames that differ the more from their reference the later they come."""
    random = torch.Generator().manual_seed(0)
    steps = torch.linspace(-1, 1, side)
    a = (steps[:, None] * steps).expand(1, 3, frames, side, side).contiguous()
    amount = scale * torch.arange(1, frames + 1).view(-1, 1, 1) / frames
    b = a + amount * torch.randn(a.shape, generator=random)
    grid = TileGrid.cover({"h": side // 8, "w": side // 8}, tile=max(2, side // 16), overlap=1)
    return compare(b, a, grid, name="tiled", reference_name="untiled")


def weight(figure: plot.Figure) -> int:
    """Bytes in a saved notebook."""
    return len(json.dumps(figure._repr_mimebundle_()))


@pytest.fixture(scope="module")
def figures(module_run) -> dict[str, plot.Figure]:
    return every_figure(module_run)


@pytest.fixture(scope="module")
def bundles(figures) -> dict[str, dict]:
    return {name: figure._repr_mimebundle_() for name, figure in figures.items()}


class TestEveryFigure:
    def test_bundle(self, figures, bundles):
        for name, bundle in bundles.items():
            assert set(bundle) == {"application/vnd.plotly.v1+json", "image/png", "text/plain"}, name
            assert bundle["text/plain"].endswith("."), name
            assert "\n" not in bundle["text/plain"], name
            assert len(json.dumps(bundle)) < LIMIT, name
            assert len(bundle["text/plain"]) < 1000, name
            picture = Image.open(BytesIO(base64.b64decode(bundle["image/png"])))
            layout = figures[name].layout
            assert picture.size == (layout.width, layout.height), name
            assert not picture.info, name
            assert len(set(picture.convert("L").tobytes())) > 8, name

    def test_twice_the_same(self, run, bundles):
        for name, figure in every_figure(run).items():
            assert figure._repr_mimebundle_() == bundles[name], name

    def test_says_what_is_seen(self, figures):
        for name, figure in figures.items():
            assert figure.layout.title.text, name
            axes = [axis.title.text or "" for axis in (figure.layout.xaxis, figure.layout.yaxis)]
            assert any(axis.endswith(")") for axis in axes), name
            assert axes[0], name
            assert type(figure) is plot.Figure, name
            assert isinstance(figure, go.Figure), name

    def test_copies(self, figures, bundles):
        for name, figure in figures.items():
            for twin in (copy.deepcopy(figure), pickle.loads(pickle.dumps(figure)), plot.Figure(figure)):
                assert type(twin) is plot.Figure
                assert json.loads(twin.to_json()) == json.loads(figure.to_json()), name
                assert twin.describe() == figure.describe()
                pd.testing.assert_frame_equal(twin.to_dataframe(), figure.to_dataframe())
            # A copied figure holds its arrays in another form.
            assert base64.b64encode(copy.deepcopy(figure).to_png()).decode() == bundles[name]["image/png"], name

    def test_changes(self, run):
        figure = plot.ranks(run).update_layout(title="mine", height=300).add_scatter(x=[0], y=[0], name="more")
        assert Image.open(BytesIO(figure.to_png())).size[1] == 300
        assert len(figure.to_dataframe()) == len(run.plan.grid)

    def test_has_a_table_of_what_is_drawn(self, figures):
        for name, figure in figures.items():
            table = figure.to_dataframe()
            assert len(table), name
            assert all(isinstance(column, str) for column in table.columns), name
            assert not table.isna().all().any(), name
            table["more"] = 1
            assert "more" not in figure.to_dataframe(), name

    def test_a_figure_from_json_has_no_table(self, run):
        with pytest.raises(ToolkitError, match="has no table"):
            plot.Figure(json.loads(plot.ranks(run).to_json())).to_dataframe()

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_themes(self, run, theme):
        for name, figure in every_figure(run, theme).items():
            assert figure.layout.template.layout.font.color == THEMES[theme].text, name
            red, green, blue = Image.open(BytesIO(figure.to_png())).convert("RGB").getpixel((0, 0))
            assert f"#{red:02X}{green:02X}{blue:02X}" == THEMES[theme].paper, name

    def test_an_unknown_theme_is_refused(self, run):
        with pytest.raises(ToolkitError, match="theme='pink'"):
            plot.timeline(run, theme="pink")

    def test_no_global_state(self, run):
        before = (pio.templates.default, pio.renderers.default)
        every_figure(run)
        assert (pio.templates.default, pio.renderers.default) == before

    def test_html_renderers_are_left_alone(self, run):
        """Colab shows plotly's HTML only; and nbconvert prefers HTML, so a PNG beside it is never shown."""
        before = pio.renderers.default
        try:
            pio.renderers.default = "colab"
            assert set(plot.timeline(run)._repr_mimebundle_()) == {"text/html", "text/plain"}
        finally:
            pio.renderers.default = before

    def test_what_a_kernel_sends(self, run):
        """IPython asks more methods than the bundle's own."""
        sent, _ = DisplayFormatter().format(plot.timeline(run))
        assert set(sent) == {"application/vnd.plotly.v1+json", "image/png", "text/plain"}

    def test_include_and_exclude(self, run):
        figure = plot.ranks(run)
        assert set(figure._repr_mimebundle_(include={"text/plain"})) == {"text/plain"}
        assert "image/png" not in figure._repr_mimebundle_(exclude={"image/png"})


class TestTheme:
    def test_neutral_text_reads_on_light_and_dark_pages(self):
        for page in ("#FFFFFF", "#111111", "#1E1E1E"):
            assert contrast(THEMES["neutral"].text, page) >= 3.8

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_text_reads_on_its_own_paper(self, theme):
        assert contrast(THEMES[theme].text, THEMES[theme].paper) >= 7

    def test_lean(self):
        assert len(json.dumps(template("neutral"))) < 700


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


class TestTimeline:
    def test_bars_are_the_events(self, run):
        figure = plot.timeline(run)
        for bars in figure.data:
            events = run.trace[run.trace["kind"] == bars.name]
            assert bars.y.tolist() == events["rank"].tolist()
            np.testing.assert_allclose(bars.base, events["start"] * 1000, rtol=1e-6)
            np.testing.assert_allclose(bars.x, (events["end"] - events["start"]) * 1000, rtol=1e-5)
        assert sum(len(bars.x) for bars in figure.data) == len(run.trace)
        assert figure.layout.xaxis.title.text.endswith("(ms)")
        assert list(figure.layout.yaxis.ticktext) == ["rank 0", "rank 1", "rank 2"]

    def test_seconds_from_one_second_on(self, run):
        slow = run.trace.assign(start=run.trace["start"] * 10, end=run.trace["end"] * 10)
        figure = plot.timeline(slow)
        assert figure.layout.xaxis.title.text.endswith("(s)")
        assert figure.layout.xaxis.range[1] == pytest.approx(slow["end"].max())

    def test_no_two_kinds_look_alike(self, run):
        assert len({colour for colour, _ in STYLES.values()}) == len(STYLES) - 3
        assert STYLES["decode"] == STYLES["encode"] == STYLES["shard"] == STYLES["stage"]
        figure = plot.timeline(run)
        waits = next(bars for bars in figure.data if bars.name == "wait")
        assert waits.marker.color.startswith("rgba(127,127,127")
        assert waits.marker.pattern.shape == "/"
        assert [bars.name for bars in figure.data] == ["decode", "blend", "send", "receive", "wait"]

    def test_unknown_kinds_are_drawn(self):
        trace = pd.DataFrame(
            [(0, "load", "weights", 0.0, 1.0, 0)], columns=["rank", "kind", "label", "start", "end", "bytes"]
        )
        assert plot.timeline(trace).data[0].name == "load"

    def test_empty(self, run):
        figure = plot.timeline(run.trace[:0])
        assert figure.layout.annotations[0].text == "the trace holds no events"
        assert figure.to_png() == plot.timeline(run.trace[:0]).to_png()

    def test_large(self, large):
        assert weight(plot.timeline(large)) < LIMIT

    def test_many_brief_events_are_joined(self):
        count = 10_000
        start = np.arange(count) * 1e-4
        trace = pd.DataFrame({"rank": np.arange(count) // 5000, "kind": "send", "label": "edge", "start": start})
        trace = trace.assign(end=start + 1e-4, bytes=10)
        bars = plot.timeline(trace).data[0]
        assert len(bars.x) == 2
        assert bars.hovertext[0] == "edge, 5000 events, 50 kB"
        assert float(bars.x.sum()) == pytest.approx(trace["end"].max(), rel=1e-3)

    def test_long_events_are_never_joined(self):
        count = 9000
        trace = pd.DataFrame({"rank": np.arange(count), "kind": "decode", "label": "tile", "start": 0.0, "end": 1.0})
        assert len(plot.timeline(trace.assign(bytes=0)).data[0].x) == count


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


def pixels(figure: plot.Figure) -> np.ndarray:
    """Indices into the colour scale."""
    source = next(trace.source for trace in figure.data if trace.type == "image")
    return np.asarray(Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))))


class TestSeams:
    def test_pixels_are_the_log_of_the_largest_error_over_channels(self):
        found = comparison()
        expected = found.error[0].abs().amax(0).double().numpy()
        low, high = np.log10(LIMITS)
        place = ((np.log10(expected) - low) / (high - low)).clip(0, 1) * (LEVELS - 1)
        np.testing.assert_array_equal(pixels(plot.seams(found)), np.rint(place))

    def test_range_is_fixed_and_named(self):
        bars = [t for t in plot.seams(comparison(0.5)).data if t.type == "scatter"]
        quiet = [t for t in plot.seams(comparison(1e-6)).data if t.type == "scatter"]
        assert (bars[0].marker.cmin, bars[0].marker.cmax) == (quiet[0].marker.cmin, quiet[0].marker.cmax) == (-4, 0)
        assert list(bars[0].marker.colorbar.ticktext) == ["≤ 0.0001", "0.001", "0.01", "0.1", "≥ 1"]
        assert bars[0].marker.colorbar.title.text == "|error|"

    def test_seam_lines_in_sample_cells(self):
        shapes = plot.seams(comparison()).layout.shapes
        lines = [shape for shape in shapes if shape.type == "line"]
        assert [(s.x0, s.x1) for s in lines if s.x0 == s.x1] == [
            ((a.stop + b.start) * 2,) * 2 for a, b in pairwise(GRID.rows[1])
        ]
        assert len(lines) == 3

    def test_no_error_and_nan(self):
        a = torch.zeros(1, 3, 16, 16)
        assert (pixels(plot.seams(compare(a, a))) == 0).all()
        b = a.clone()
        b[0, 1, 3, 4] = torch.nan
        shown = pixels(plot.seams(compare(b, a)))
        assert shown[3, 4] == LEVELS - 1
        assert shown.sum() == LEVELS - 1

    def test_frames_of_a_video(self):
        video = torch.zeros(2, 3, 3, 16, 16)
        video[1, :, 1] = 0.1
        found = compare(video, torch.zeros_like(video))
        assert pixels(plot.seams(found, 4)).min() > 0
        assert pixels(plot.seams(found, 3)).max() == 0
        with pytest.raises(ToolkitError, match=r"frame=6: must lie in 0..5"):
            plot.seams(found, 6)

    @pytest.mark.parametrize("limits", [(0, 1), (1, 0.1), (-1, 1)])
    def test_limits_are_checked(self, limits):
        with pytest.raises(ToolkitError, match="limits="):
            plot.seams(comparison(), limits=limits)

    def test_a_noisy_720p_frame_is_small_and_keeps_a_thin_line(self):
        random = torch.Generator().manual_seed(0)
        error = 10 ** (torch.rand(1, 1, 720, 1280, generator=random) * 3 - 4)
        error[..., 640] = 1.0
        found = compare(error, torch.zeros_like(error))
        figure = plot.seams(found)
        assert weight(figure) < LIMIT
        image = figure.data[0]
        assert image.dx > 1
        assert (pixels(figure)[:, 640 // image.dx] == LEVELS - 1).all()
        assert f"{image.dx} x {image.dx} px" in figure.layout.title.text

    def test_hover_never_misses_the_largest_error(self):
        found = comparison()
        cells = next(trace for trace in plot.seams(found).data if trace.type == "heatmap")
        assert cells.z.max() == pytest.approx(found.max_abs, rel=1e-6)
        assert cells.opacity == 0


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
