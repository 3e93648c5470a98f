"""Every figure: what it says, that it is the same twice, small, and shown where plotly does not run."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import re
from dataclasses import replace
from html import unescape
from io import BytesIO

import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image
from support.plotted import LIMIT, comparison, video

from toolkit import plot
from toolkit.errors import ToolkitError
from toolkit.geometry import Assignment, Blend, Schedule, TilePlan, Topology
from toolkit.plot.theme import THEMES
from toolkit.runs.run_tables import trace_table
from toolkit.runs.trace import Event, Kind, Label

STILL = re.compile(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]*)" width="\d+" style="[^"]+">')
HALOS = trace_table(
    [
        Event(0, Kind.SEND, Label(purpose="halo h", module="conv"), 0.0, 0.1, 4000, 1),
        Event(1, Kind.SEND, Label(purpose="halo h", module="conv"), 0.0, 0.2, 4000, 0),
    ]
)


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
        "replay": plot.replay(run, moments=5, theme=theme),
        "utilisation": plot.utilisation(run, theme=theme),
        "communication": plot.communication(run, theme=theme),
        "communication of a plan": plot.communication(run.plan, 768, theme=theme),
        "memory": plot.memory(run, theme=theme),
        "memory and its limit": plot.memory(run, limit=10**9, weights=10**8, theme=theme),
        "memory of a rank": plot.memory(run, 1, limit=10**9, weights=10**8, theme=theme),
        "peak memory": plot.peak_memory(run, run, theme=theme),
        "peak memory of runs": plot.peak_memory([run, run], [run, run], theme=theme),
        "scaling": plot.scaling([run, alone], theme=theme),
        "schedule": plot.schedule(Schedule.looped(2, 2, 2), [0.25] * 4, theme=theme),
        "halos": plot.halos(HALOS, theme=theme),
        "hosts": plot.hosts(run, Topology(hosts=2, per_host=(1, 2)), theme=theme),
        "seams": plot.seams(one, theme=theme),
        "signed seams": plot.seams(one, signed=True, theme=theme),
        "seams of frames": plot.seams(video(), 1, frames=range(3), theme=theme),
        "seam_profile": plot.seam_profile([one, comparison(0.1, "coarse")], theme=theme),
        "compare": plot.compare(video(), theme=theme),
        "compare by wiping": plot.compare(video(), mode="wipe", theme=theme),
    }


@pytest.fixture(scope="module")
def figures(module_run) -> dict[str, plot.Figure]:
    return every_figure(module_run)


@pytest.fixture(scope="module")
def bundles(figures) -> dict[str, dict]:
    return {name: figure._repr_mimebundle_() for name, figure in figures.items()}


class TestEveryFigure:
    def test_bundle(self, figures, bundles):
        for name, bundle in bundles.items():
            assert set(bundle) == {"application/vnd.plotly.v1+json", "text/html", "text/plain"}, name
            assert bundle["text/plain"].endswith("."), name
            assert "\n" not in bundle["text/plain"], name
            assert len(json.dumps(bundle)) < LIMIT, name
            assert len(bundle["text/plain"]) < 1000, name
            still, said = STILL.fullmatch(bundle["text/html"]).groups()
            picture = Image.open(BytesIO(base64.b64decode(still)))
            layout = figures[name].layout
            assert picture.size == (layout.width or 800, layout.height), name
            assert layout.width or layout.autosize, name
            assert set(picture.info) <= {"transparency"}, name
            assert picture.convert("RGBA").getpixel((0, 0))[3] == 0, name
            assert len(picture.convert("RGBA").getcolors()) > 8, name
            assert unescape(said) == bundle["text/plain"], name

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
            assert copy.deepcopy(figure).to_img() == bundles[name]["text/html"], name

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
        """Colab shows only plotly's HTML, and so does nbconvert, so a still beside it would never be shown."""
        before = pio.renderers.default
        try:
            pio.renderers.default = "colab"
            assert set(plot.timeline(run)._repr_mimebundle_()) == {"text/html", "text/plain"}
        finally:
            pio.renderers.default = before

    def test_what_a_kernel_sends(self, run):
        """IPython asks an object for more than its bundle."""
        sent, _ = DisplayFormatter().format(plot.timeline(run))
        assert set(sent) == {"application/vnd.plotly.v1+json", "text/html", "text/plain"}

    def test_include_and_exclude(self, run):
        figure = plot.ranks(run)
        assert set(figure._repr_mimebundle_(include={"text/plain"})) == {"text/plain"}
        assert "text/html" not in figure._repr_mimebundle_(exclude={"text/html"})


@pytest.mark.parametrize("way", ["write_html", "write_json"])
def test_saving_is_whole_or_not_at_all(way, tmp_path, monkeypatch):
    figure = plot.Figure(data=[{"type": "scatter", "y": [1, 2]}])
    save = getattr(figure, way)
    for name, said in {"no/such/figure": "does not exist; create it first", "": "is a folder"}.items():
        with pytest.raises(ToolkitError, match=said):
            save(tmp_path / name)
    (tmp_path / "figure").write_text("before")
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(ToolkitError, match=r"full' could not be written \(No space left on device\)"):
        save(str(tmp_path / "full"))

    def full(*args: object, **kwargs: object) -> int:
        raise OSError(28, "full")

    monkeypatch.setattr(type(tmp_path), "write_text", full)
    with pytest.raises(ToolkitError, match="No space left"):
        save(tmp_path / "figure")
    assert (tmp_path / "figure").read_text() == "before"
    monkeypatch.undo()
    save(tmp_path / "figure")
    with open(tmp_path / "open", "w") as file:
        save(file)
    assert len((tmp_path / "figure").read_text()) > 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure", "full", "open"]
