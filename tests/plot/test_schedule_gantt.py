"""The picture of a schedule: predicted, and measured with the prediction around it."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.stage_runs import scheduled_run

from toolkit import plot
from toolkit.analysis.stage_times import stage_times
from toolkit.errors import ToolkitError
from toolkit.geometry import Schedule, StagePlan, StageSplit
from toolkit.geometry.drawing.palette import rank_colour
from toolkit.plot.schedule_bars import WAITS
from toolkit.plot.schedule_gantt import MAX_BARS

LIMIT = 500_000
LOOPED = Schedule.looped(stages=2, branches=2, chunks=2)
COSTS = [0.25, 0.5, 0.125, 0.25]


def stage_plan(schedule: Schedule, **more: int) -> StagePlan:
    return StagePlan(StageSplit.even(16, schedule.depth), schedule, **more)


def computing(figure: plot.Figure) -> dict[tuple[str, float], tuple[int, float]]:
    """Rank and length of each bar, by its text and start."""
    return {
        (text, base): (int(rank), float(length))
        for bar in figure.data
        if bar.text is not None
        for text, base, rank, length in zip(bar.text, bar.base, bar.y, bar.x, strict=True)
    }


def timeline(schedule: Schedule, costs, hop=0.0, steps=3):
    return {
        (str(event.action), float(event.start)): (event.rank, float(event.stop - event.start))
        for event in schedule.timeline(costs, hop, steps)
    }


class TestPredicted:
    @pytest.mark.parametrize("schedule", [LOOPED, Schedule.requests(4, 2, 3), Schedule.sequential(3, 2)], ids=repr)
    def test_bars_are_the_timeline(self, schedule):
        costs = [0.5 + 0.25 * chunk for chunk in range(schedule.depth)]
        assert computing(plot.schedule(schedule, costs, hop=0.125)) == timeline(schedule, costs, 0.125)

    def test_a_plan_takes_costs_of_layers(self):
        layers = [0.125] * 15 + [1.125]
        figure = plot.schedule(stage_plan(Schedule.interleaved(2, 2)), layers, steps=1)
        assert computing(figure) == timeline(Schedule.interleaved(2, 2), [1.0, 2.0], steps=1)

    def test_without_costs_a_branch_takes_1(self):
        for what in (LOOPED, stage_plan(LOOPED)):
            figure = plot.schedule(what, steps=1)
            assert computing(figure) == timeline(LOOPED, [0.25] * 4, steps=1)
            assert figure.describe() == (
                "Looped, 2 ranks, predicted: a step takes 1.25, on one rank 2; ranks compute 80 % of the time."
            )

    def test_colour_by_branch_and_pattern_by_chunk_of_the_rank(self):
        bars = [bar for bar in plot.schedule(LOOPED).data if bar.text is not None]
        seen = {(bar.legendgroup, bar.marker.color, bar.marker.pattern.shape, bar.showlegend) for bar in bars}
        assert seen == {
            (str(branch), rank_colour(branch), shape, shape == "") for branch in (0, 1) for shape in ("", "/")
        }
        for bar in bars:
            laps = {int(text[0]) // 2 for text in bar.text}
            assert laps == {0 if bar.marker.pattern.shape == "" else 1}

    def test_idle_time_is_grey_and_complete(self):
        figure = plot.schedule(LOOPED, COSTS, steps=2)
        (idle,) = (bar for bar in figure.data if bar.name == "idle")
        assert idle.marker.color == WAITS["wait for results"]
        end = max(event.stop for event in LOOPED.timeline(COSTS, steps=2))
        busy = sum(float(bar.x.sum()) for bar in figure.data if bar.text is not None)
        assert float(idle.x.sum()) + busy == 2 * end

    def test_milliseconds_below_a_second(self):
        figure = plot.schedule(Schedule.interleaved(2, 2), [0.0625, 0.0625], steps=2)
        assert figure.layout.xaxis.title.text.endswith("(ms)")
        assert "a step takes 188 ms, on one rank 250 ms" in figure.describe()

    def test_requests_are_told_apart(self):
        figure = plot.schedule(Schedule.requests(2, branches=2, requests=2))
        names = {bar.name for bar in figure.data if bar.text is not None}
        assert names == {f"request {branch // 2}, branch {branch}" for branch in range(4)}
        hover = next(bar.hovertext[0] for bar in figure.data if bar.text is not None and bar.text[0] == "0F3")
        assert hover == "<b>0F3</b> step 0, request 1"


class TestMeasured:
    def test_bars_are_the_run_and_outlines_the_schedule(self):
        run = scheduled_run(stage_plan(LOOPED), COSTS, steps=5, hop=0.0625, begin=1.75)
        slow = run.trace.copy()
        late = (slow["kind"] == "stage") & (slow["chunk"] == 3) & (slow["branch"] == 1) & (slow["step"] == 4)
        slow.loc[late, "end"] += 0.5
        figure = plot.schedule(replace(run, trace=slow, seconds=12.0))
        expected = timeline(LOOPED, COSTS, 0.0625, steps=5)
        measured = computing(figure)
        assert measured.keys() == expected.keys()
        assert {key for key in expected if measured[key] != expected[key]} == {max(expected, key=lambda key: key[1])}
        outline = figure.data[0]
        assert outline.name == "predicted"
        found = sorted(zip(outline.y, outline.base, outline.x, strict=True))
        assert found == sorted((rank, start, length) for (_, start), (rank, length) in expected.items())
        assert outline.width > figure.data[1].width

    def test_waits_are_what_the_ranks_waited(self):
        run = scheduled_run(stage_plan(LOOPED), COSTS, steps=3, hop=0.0625)
        times = stage_times(run)
        figure = plot.schedule(times)
        for what in WAITS:
            (bar,) = (bar for bar in figure.data if bar.name == what)
            for rank in range(2):
                assert float(bar.x[bar.y == rank].sum()) == times.ranks.loc[rank, what]

    def test_the_first_steps_are_in_view_and_all_are_there(self):
        run = scheduled_run(stage_plan(LOOPED), COSTS, steps=9)
        figure = plot.schedule(run, steps=2)
        two = max(event.stop for event in LOOPED.timeline(COSTS, steps=2))
        assert figure.layout.xaxis.range[1] == pytest.approx(two, rel=0.02)
        assert len(computing(figure)) == 9 * 8

    def test_says_how_much_of_the_gain(self):
        schedule = Schedule.interleaved(2, 2)
        figure = plot.schedule(scheduled_run(stage_plan(schedule), [0.5, 0.5], steps=4))
        assert figure.describe() == (
            "Interleaved, 2 ranks: a loop of 6 s, predicted 6 s, 100 % of the possible gain; "
            "ranks computed 67 % of the time; one rank would take 8 s."
        )
        sequential = plot.schedule(scheduled_run(stage_plan(Schedule.sequential(2, 2)), [0.5, 0.5], steps=4))
        assert "no gain promised" in sequential.describe()

    def test_no_outline_where_the_schedule_does_not_say_when(self):
        run = scheduled_run(stage_plan(LOOPED), COSTS, steps=2, expert="transformer")
        other = run.trace.assign(expert=run.trace["expert"].replace("transformer", "transformer_2"))
        figure = plot.schedule(replace(run, trace=pd.concat([run.trace, other]), seconds=9.0))
        assert all(bar.name != "predicted" for bar in figure.data)

    def test_costs_for_a_run_are_refused(self):
        run = scheduled_run(stage_plan(LOOPED), COSTS, steps=2)
        for more in ({"costs": COSTS}, {"hop": 0.5}):
            with pytest.raises(ToolkitError, match="costs and hop cannot be given for a run"):
                plot.schedule(run, **more)

    def test_a_run_of_something_else_is_refused(self, run):
        with pytest.raises(ToolkitError, match="stage_times is for runs with a StagePlan"):
            plot.schedule(run)


class TestShown:
    @pytest.mark.parametrize("theme", ["neutral", "light", "dark"])
    def test_bundle(self, theme):
        run = scheduled_run(stage_plan(LOOPED), COSTS, steps=4, hop=0.0625)
        for what in (LOOPED, run):
            figure, again = plot.schedule(what, theme=theme), plot.schedule(what, theme=theme)
            bundle = figure._repr_mimebundle_()
            assert bundle == again._repr_mimebundle_()
            assert bundle == copy.deepcopy(figure)._repr_mimebundle_()
            assert set(bundle) == {"application/vnd.plotly.v1+json", "text/html", "text/plain"}
            assert "shapes" not in bundle["application/vnd.plotly.v1+json"]["layout"]

    def test_an_unknown_theme_is_refused(self):
        for what in (LOOPED, scheduled_run(stage_plan(LOOPED), COSTS, steps=1)):
            with pytest.raises(ToolkitError, match="theme='mauve'"):
                plot.schedule(what, theme="mauve")

    def test_the_png_has_colours_and_texts_of_the_bars(self):
        figure = plot.schedule(Schedule.interleaved(2, 2), steps=1, theme="light")
        plain = copy.deepcopy(figure)
        for bar in plain.data:
            bar.text = None
        with_text, without = (np.asarray(Image.open(BytesIO(f.to_png())).convert("RGB")) for f in (figure, plain))
        for branch in (0, 1):
            colour = tuple(int(rank_colour(branch)[i : i + 2], 16) for i in (1, 3, 5))
            near = (np.abs(without.astype(int) - colour).max(-1) < 8).sum()
            assert near > 1000
            assert (np.abs(with_text.astype(int) - colour).max(-1) < 8).sum() < near

    def test_large(self):
        schedule = Schedule.requests(8, branches=2, requests=4, chunks=2)
        run = scheduled_run(stage_plan(schedule), [0.01] * 16, steps=50)
        figure = plot.schedule(run)
        assert len(json.dumps(figure._repr_mimebundle_())) < LIMIT
        drawn = computing(figure)
        assert len(drawn) <= MAX_BARS
        assert len(drawn) % (16 * 8) == 0
        assert f"the first {len(drawn) // (16 * 8)} of 50 steps" in figure.layout.title.text
        assert "of 50 steps" not in plot.schedule(scheduled_run(stage_plan(LOOPED), COSTS, steps=9)).layout.title.text


def test_steps_are_a_count():
    with pytest.raises(ToolkitError, match="steps=0: must be an int of at least 1"):
        plot.schedule(LOOPED, steps=0)
