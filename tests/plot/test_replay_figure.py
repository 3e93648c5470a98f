"""The replay's figure: frames are the moments, the still is the worst one, and it fits into a saved notebook."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from support.plotted import LIMIT, weight
from support.replayed import TILES, many_tiles, rehearsed, shard_run, tile_run

import toolkit as tk
from toolkit import plot
from toolkit.analysis.part_sheet import small
from toolkit.analysis.part_states import SHOWN, State
from toolkit.analysis.replaying import moments_of, replaying
from toolkit.errors import PlanError, ToolkitError
from toolkit.geometry import Assignment
from toolkit.geometry.drawing.palette import contrast
from toolkit.plot.state_fills import centres
from toolkit.plot.state_looks import COLOURS, SIGNS
from toolkit.plot.static_base import array


def frame_maps(figure: plot.Figure, panel: int = 0) -> list[list[set[tuple[float, float]]]]:
    """For each frame, the middles of the outlines of each state, in the order of the legend."""
    first = figure.frames[0].traces.index(fills_of(figure)[len(SHOWN) * panel])
    return [[middles(trace) for trace in frame.data[first : first + len(SHOWN)]] for frame in figure.frames]


def fills_of(figure: plot.Figure) -> list[int]:
    """The places of the traces that are the map."""
    return [place for place, trace in enumerate(figure.data) if trace.type == "scatter" and trace.fill == "toself"]


def middles(trace) -> set[tuple[float, float]]:
    """The middle of each rectangle of a line with gaps."""
    corners = np.stack([array(trace.x), array(trace.y)], 1)
    parts = np.split(corners, np.flatnonzero(np.isnan(corners[:, 0])))
    rectangles = [part[~np.isnan(part[:, 0])] for part in parts]
    return {tuple(np.round(one.mean(0), 3).tolist()) for one in rectangles if len(one)}


def places_of(replay, time: float) -> list[set[tuple[float, float]]]:
    """What :func:`middles` should find at a moment, where each tile has an outline of its own."""
    x, y = centres(small(replay.parts.sheet))
    states = replay.map(time)
    found = [np.argwhere(states == state).tolist() for state in SHOWN]
    return [{(round(float(x[column]), 3), round(float(y[row]), 3)) for row, column in one} for one in found]


def bars(figure: plot.Figure) -> int:
    """How many traces a frame names without a change."""
    return sum(trace.type == "bar" for trace in figure.data)


class TestFrames:
    def test_each_frame_has_the_states_of_its_moment(self):
        figure, replay = plot.replay(tile_run(), moments=10), replaying(tile_run())
        times = moments_of([replay], 10)
        assert [step.label for step in figure.layout.sliders[0].steps] == [f"{time:.4g} s" for time in times]
        assert frame_maps(figure) == [places_of(replay, time) for time in times]

    def test_a_frame_changes_the_traces_that_move_and_no_others(self):
        figure = plot.replay(tile_run(), moments=6)
        for frame in figure.frames:
            assert len(frame.data) == len(frame.traces)
            for trace, place in zip(frame.data, frame.traces, strict=True):
                assert trace.type == figure.data[place].type
                assert figure.data[place].xaxis is not None
        lines = [frame.data[-1 - bars(figure)].text[0] for frame in figure.frames]
        assert lines[0] == "At 0 s of 4 s: 2 waiting, 1 computing"
        assert lines[-1] == "At 4 s of 4 s: 3 done"

    def test_no_frame_needs_a_redraw(self):
        """plotly.js changes scatters without one, and leaves bars alone if they are named."""
        figure = plot.replay(tile_run(), moments=6)
        named = {place for place, trace in enumerate(figure.data) if trace.type == "bar"}
        for frame in figure.frames:
            assert {trace.type for trace in frame.data} == {"scatter", "bar"}
            assert {
                place for trace, place in zip(frame.data, frame.traces, strict=True) if trace.type == "bar"
            } == named
            assert all(len(array(trace.x)) for trace in frame.data if trace.type == "scatter")
            assert not frame.layout.to_plotly_json()
        steps = [step.args[1] for step in figure.layout.sliders[0].steps]
        steps += [button.args[1] for button in figure.layout.updatemenus[0].buttons]
        assert not any(step["frame"]["redraw"] for step in steps)

    def test_play_pause_and_slider_name_frames_that_exist(self):
        figure = plot.replay(tile_run(), moments=6)
        names = [frame.name for frame in figure.frames]
        assert [step.args[0][0] for step in figure.layout.sliders[0].steps] == names
        assert [button.label for button in figure.layout.updatemenus[0].buttons] == ["Play", "Pause"]

    def test_signs_tell_states_without_colours(self):
        figure, replay = plot.replay(tile_run(), moments=9), replaying(tile_run())
        for frame, time in zip(figure.frames, moments_of([replay], 9), strict=True):
            texts = [trace for trace in frame.data if trace.text is not None][:2]
            there = sorted(
                (float(x), text) for one in texts for x, text in zip(array(one.x), one.text, strict=True) if text
            )
            assert [text for _, text in there] == [
                f"{rank} {SIGNS[state]}" for rank, state in zip((0, 1, 0), map(State, replay.states(time)), strict=True)
            ]
        assert len(set(SIGNS.values())) == len(State)

    def test_symbols_mark_what_moves_where_cells_are_too_small_for_signs(self):
        run = many_tiles(20, ranks=3)
        figure, replay = plot.replay(run, moments=7), replaying(run)
        for frame, time in zip(figure.frames, moments_of([replay], 7), strict=True):
            shown = len(SHOWN)
            for marks, state in zip(frame.data[shown : shown + 2], (State.COMPUTING, State.TRAVELLING), strict=True):
                there = array(marks.x)[~np.isnan(array(marks.x))]
                assert len(there) == replay.counts(time)[state]
                for x, y in zip(there, array(marks.y), strict=False):
                    tile = next(
                        one for one in run.plan.grid.tiles if _holds(one.core["h"], y) and _holds(one.core["w"], x)
                    )
                    assert replay.states(time)[tile.index] == state

    def test_arrows_point_from_senders_to_receivers(self):
        figure = plot.replay(tile_run(), moments=5)
        down, up = (
            [trace for frame in figure.frames for trace in frame.data if trace.customdata is not None][place::2]
            for place in (0, 1)
        )
        sent = {tuple(row) for one in (*down, *up) for row in array(one.customdata).tolist()}
        assert sent == {(0, 1, 100), (1, 0, 300)}
        assert all(array(one.y)[~np.isnan(array(one.y))].tolist() in ([], [1]) for one in down)
        assert all(array(one.y)[~np.isnan(array(one.y))].tolist() in ([], [0]) for one in up)

    def test_cursors_stand_at_the_moment(self):
        figure = plot.replay(tile_run(), moments=9)
        for frame, time in zip(figure.frames, moments_of([replaying(tile_run())], 9), strict=True):
            cursor = frame.data[-2 - bars(figure)]
            np.testing.assert_allclose(array(cursor.x), [time, time], rtol=1e-6)


class TestStill:
    def test_the_picture_is_the_moment_of_the_highest_memory(self):
        figure = plot.replay(tile_run())
        at = figure.layout.sliders[0].active
        assert figure.layout.sliders[0].steps[at].label == "2 s"
        assert [middles(figure.data[place]) for place in fills_of(figure)] == frame_maps(figure)[at]
        assert figure.describe() == (
            "3 tiles on 2 ranks over 4 s as 48 moments; shown is 2 s, the moment with the highest memory, 5 MB on rank "
            "0: 1 computing, 1 held, 1 travelling."
        )

    def test_without_memory_it_says_so(self):
        nothing = pd.DataFrame(columns=["rank", "time", "bytes"])
        assert "memory was not measured" in plot.replay(tile_run(nothing)).describe()

    def test_everything_is_drawn_without_a_browser(self):
        figure = plot.replay(tile_run(), limit=8_000_000, weights=1_000_000)
        assert {trace.type for trace in figure.data} == {"bar", "scatter", "heatmap"}
        assert "not drawn" not in str(figure.to_png())
        names = {trace.name for trace in figure.data}
        assert {"decode", "send", "wait", "✓ done", "limit 8 MB"} <= names

    def test_the_limit_includes_weights(self):
        plain, base = plot.replay(tile_run()), plot.replay(tile_run(), limit=8_000_000, weights=1_000_000)
        levels = [array(figure.data[-3].y).tolist() for figure in (plain, base)]
        assert levels == [[5.0, 3.0], [6.0, 4.0]]

    @pytest.mark.parametrize("theme", ["light", "dark", "neutral"])
    def test_themes(self, theme):
        assert plot.replay(tile_run(), theme=theme).to_png()

    def test_table(self):
        table = plot.replay(tile_run(), moments=5).to_dataframe()
        assert table["time (s)"].tolist() == moments_of([replaying(tile_run())], 5).tolist()
        assert (table[["waiting", "computing", "held", "travelling", "done"]].sum(axis=1) == 3).all()
        assert table["highest memory (bytes)"].max() == 5_000_000


@pytest.fixture(scope="module")
def pair():
    """A run in two shards, twice as slow as its rehearsal."""
    rehearsal = rehearsed(2, 1, 16)
    record = rehearsal.record
    plain = type(record)(**{**{name: getattr(record, name) for name in record.__slots__}, "what": {"call": "decode"}})
    trace = rehearsal.trace.assign(start=2 * rehearsal.trace["start"], end=2 * rehearsal.trace["end"])
    memory = rehearsal.memory.assign(time=2 * rehearsal.memory["time"])
    run = tk.Run(None, trace, memory, rehearsal.peaks, plain, rehearsal.plan, 2 * rehearsal.seconds, rehearsal.ratio)
    return run, rehearsal


class TestBesideThePrediction:
    def test_both_are_drawn_on_one_axis_of_time(self, pair):
        run, rehearsal = pair
        figure = plot.replay(run, rehearsal)
        assert len(fills_of(figure)) == 2 * len(SHOWN)
        assert figure.layout.xaxis5.range == figure.layout.xaxis6.range == figure.layout.xaxis7.range
        last = [frame for frame in figure.frames if float(frame.name) >= 0.6 * len(figure.frames)]
        late = frame_maps(figure, panel=1)[-len(last) :]
        done = [SHOWN[place] for states in late for place, there in enumerate(states) if there]
        assert set(done) == {State.DONE}
        assert {note.text for note in figure.layout.annotations} == {"<b>measured</b>", "<b>predicted</b>"}
        assert set(figure.to_dataframe()["what"]) == {"measured", "predicted"}
        assert weight(figure) < LIMIT

    def test_what_is_no_prediction_of_the_run_is_refused(self, pair):
        run, rehearsal = pair
        for first, predicted in ((rehearsal, rehearsal), (run, run), (run, 3)):
            with pytest.raises(ToolkitError, match="predicted= takes a rehearsal"):
                plot.replay(first, predicted)
        with pytest.raises(ToolkitError, match="rehearse the run's plan"):
            plot.replay(tile_run(), rehearsal)


class TestSize:
    @pytest.mark.parametrize("side", [32, 100])
    def test_tiles(self, side):
        figure = plot.replay(many_tiles(side))
        print(side, weight(figure), len(figure.frames))
        assert weight(figure) < LIMIT
        assert len(figure.frames) >= (40 if side == 32 else 30)
        assert f"{len(figure.frames)} moments" in figure.layout.xaxis7.title.text

    def test_a_map_of_many_outlines_has_fewer_moments(self):
        """Dealt in turn, tiles of one state do not lie side by side."""
        figure = plot.replay(many_tiles(60, ranks=7, deal=Assignment.round_robin))
        print(weight(figure), len(figure.frames))
        assert weight(figure) < LIMIT
        assert 6 <= len(figure.frames) < 48
        assert f"{len(figure.frames)} moments" in figure.layout.xaxis7.title.text

    def test_a_rehearsal_of_sixteen_ranks(self):
        figure = plot.replay(rehearsed(4, 4, 32))
        print(weight(figure), len(figure.frames))
        assert weight(figure) < LIMIT
        assert len(figure.frames) >= 24
        assert figure.describe().startswith("16 shards on 16 ranks")

    def test_more_ranks_than_rows(self):
        figure = plot.replay(many_tiles(10, ranks=50))
        assert list(figure.layout.yaxis5.range) == [31.6, -0.6]
        assert list(figure.layout.yaxis5.ticktext)[:2] == ["rank 0", "rank 4"]
        for said in (figure.layout.xaxis7.title.text, figure.describe()):
            assert "32 of 50 ranks, with the highest memory" in said
        assert weight(figure) < LIMIT

    def test_a_figure_survives_json_and_copies(self):
        figure = plot.replay(tile_run(), moments=5)
        again = plot.Figure(json.loads(figure.to_json()))
        assert len(again.frames) == 5
        assert again.to_png() == figure.to_png()


def test_states_can_be_told_apart():
    shown = [colour for state, colour in COLOURS.items() if state is not State.NONE]
    assert len(set(shown)) == 5
    for colour in shown:
        assert max(contrast(colour, "#FFFFFF"), contrast(colour, "#111111")) > 4.5
        assert min(contrast(colour, "#FFFFFF"), contrast(colour, "#111111")) > 1.7


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"moments": 2}, "moments=2: must be an int from 3 to 48"),
        ({"moments": 49}, "moments=49"),
        ({"limit": -1}, "limit=-1: must be a number of bytes"),
        ({"limit": 10**9}, "does not say how many bytes"),
        ({"weights": float("nan")}, "weights=nan"),
        ({"theme": "pink"}, "theme='pink'"),
    ],
)
def test_odd_settings_are_refused(given, said):
    with pytest.raises(PlanError if "does not" not in said else ToolkitError, match=said):
        plot.replay(tile_run(), **given)


def _holds(span: tk.Span, place: float) -> bool:
    return span.start < place < span.stop


@pytest.mark.parametrize("odd", [TILES, tk.demo.latents, [], None, tile_run().trace])
def test_what_is_no_run_is_refused(odd):
    with pytest.raises(ToolkitError, match="this figure draws a run"):
        plot.replay(odd)


def test_a_rehearsal_without_times_is_refused():
    with pytest.raises(ToolkitError, match="rehearse with a profile"):
        plot.replay(rehearsed(2, 1, 16).with_profile(None))


def test_shards_without_a_known_latent_are_not_to_scale():
    figure = plot.replay(shard_run(), moments=5)
    assert figure.layout.xaxis.title.text == "w (not to scale)"
