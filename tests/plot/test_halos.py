"""What crosses the borders between shards."""

from __future__ import annotations

import copy
import json
from io import BytesIO

import pandas as pd
import pytest
from PIL import Image
from support.plotted import LIMIT

from toolkit import plot
from toolkit.errors import ToolkitError
from toolkit.geometry import ShardPlan
from toolkit.plot.halos import MOST_ROWS, STYLES
from toolkit.plot.theme import THEMES
from toolkit.runs.run_tables import trace_table
from toolkit.runs.trace import Event, Kind, Label

MODULES = ["decoder.conv_in", "decoder.mid.norm", "decoder.mid.attention", "decoder.up.0.conv", "decoder.conv_out"]

KINDS = {"decoder.mid.norm": "statistics", "decoder.mid.attention": "keys and values"}


def trace_of(modules: list[str], ranks: int = 2) -> pd.DataFrame:
    """Every module but those of ``KINDS`` sends 1000 bytes of halos on every rank, and waits 1 ms."""
    events = []
    for rank in range(ranks):
        for place, module in enumerate(modules):
            label, start = Label(purpose=KINDS.get(module, "halo h"), module=module), 0.01 * place + 0.001 * rank
            events.append(Event(rank, Kind.SEND, label, start, start + 0.001, 1000))
            events.append(Event(rank, Kind.WAIT, label, start + 0.001, start + 0.002))
            events.append(Event(rank, Kind.RECEIVE, label, start + 0.002, start + 0.004, 1000))
        if rank:
            events.append(Event(rank, Kind.SEND, Label(tile=rank, purpose="shard"), 9.0, 9.1, 16_000))
    return trace_table(events).sample(frac=1, random_state=0)


def names(figure: plot.Figure) -> list[str]:
    return [text.partition("  ")[0] for text in figure.layout.yaxis.ticktext]


class TestHalos:
    def test_a_bar_per_module_in_the_order_of_first_messages(self):
        figure = plot.halos(trace_of(MODULES))
        assert names(figure) == ["conv_in", "mid.norm", "mid.attention", "up.0.conv", "conv_out", "the result"]
        assert figure.layout.yaxis.ticktext[0] == "conv_in  2 kB"
        assert figure.layout.yaxis.title.text == "module of decoder, in order of first message"
        bars = {bar.name: bar for bar in figure.data}
        assert bars["halo h"].y.tolist() == [0, 3, 4]
        assert bars["halo h"].x.tolist() == [2, 2, 2]
        assert (bars["result"].y.tolist(), bars["result"].x.tolist()) == ([5], [16])

    def test_the_summary_tells_kinds_and_shares(self):
        assert plot.halos(trace_of(MODULES)).describe() == (
            "26 kB in 11 messages from 2 ranks: result 16 kB (62 %), halo h 6 kB (23 %), statistics 2 kB (8 %), "
            "keys and values 2 kB (8 %)."
        )

    def test_hover_tells_what_it_took(self):
        bar = plot.halos(trace_of(MODULES)).data[0]
        assert bar.hovertext[1].split("<br>") == [
            "<b>decoder.up.0.conv</b>",
            "halo h: 2 kB in 2 messages",
            "6 ms sending and receiving, 2 ms waiting,",
            "summed over ranks",
        ]

    def test_kinds_of_one_module_follow_each_other(self):
        trace = trace_of(["conv", "other"])
        both = pd.concat([trace, trace.assign(purpose=trace["purpose"].replace("halo h", "halo w"))])
        down, across = (bar for bar in plot.halos(both).data if bar.name.startswith("halo"))
        assert list(across.base) == down.x.tolist() == [2, 2]

    def test_many_modules_are_grouped_by_block(self):
        modules = [f"decoder.up.{block}.resnets.{unit}.conv" for block in range(30) for unit in range(12)]
        figure = plot.halos(trace_of(modules))
        assert names(figure) == [*(f"{block}.resnets" for block in range(30)), "the result"]
        assert figure.layout.yaxis.title.text == "block of decoder.up, in order of first message"
        assert "360 modules by block" in figure.layout.title.text
        assert figure.data[0].x.tolist() == [24] * 30
        assert figure.data[0].hovertext[0].startswith("<b>decoder.up.0.resnets</b> (12 modules)<br>")
        flat = plot.halos(trace_of([f"conv{place}" for place in range(500)]))
        assert len(json.dumps(flat._repr_mimebundle_())) < LIMIT

    def test_as_many_bars_as_fit_are_not_grouped(self):
        figure = plot.halos(trace_of([f"decoder.{place}.conv" for place in range(MOST_ROWS - 1)]))
        assert names(figure)[:2] == ["0.conv", "1.conv"]

    def test_no_two_kinds_look_alike(self):
        assert len(set(STYLES.values())) == len({pattern for _, pattern in STYLES.values()}) == len(STYLES)
        assert len({colour for colour, _ in STYLES.values()}) == len(STYLES)

    def test_unknown_kinds_are_drawn(self):
        trace = trace_of(MODULES)
        more = trace.assign(purpose=trace["purpose"].replace("statistics", "weather"))
        assert plot.halos(more).data[-1].name == "weather"

    def test_only_a_result(self):
        trace = trace_of(MODULES)
        figure = plot.halos(trace[trace["purpose"] == "shard"])
        assert figure.describe() == "16 kB in 1 message from 1 rank: result 16 kB (100 %)."
        assert names(figure) == ["the result"]

    def test_refusals(self, run, runs, sharded):
        with pytest.raises(ToolkitError, match=r"the run of 12 tiles over 3 ranks contains no .*timeline"):
            plot.halos(run)
        with pytest.raises(ToolkitError, match="the run of the model's own call"):
            plot.halos(runs(None))
        with pytest.raises(ToolkitError, match="the run of 1 x 1 shards"):
            plot.halos(sharded(ShardPlan()))
        with pytest.raises(ToolkitError, match="the trace contains no messages between shards"):
            plot.halos(run.trace)
        with pytest.raises(ToolkitError, match="an older version recorded it: run it again"):
            plot.halos(run.trace.drop(columns="purpose"))

    def test_bundle(self, sharded):
        run = sharded(ShardPlan(h=2), trace_of(MODULES))
        for theme, colours in THEMES.items():
            figure = plot.halos(run, theme=theme)
            bundle = figure._repr_mimebundle_()
            assert bundle == plot.halos(run, theme=theme)._repr_mimebundle_()
            assert len(json.dumps(bundle)) < 100_000
            assert figure.layout.template.layout.font.color == colours.text
            assert figure.layout.xaxis.title.text.endswith("(kB)")
            assert copy.deepcopy(figure).to_png() == figure.to_png()
            assert Image.open(BytesIO(figure.to_png())).size == (800, figure.layout.height)
