"""A sweep in parallel coordinates: every row drawn, failed ones too."""

from __future__ import annotations

import copy
import json
import pickle
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.plotted_sweeps import INFINITE, marks

from toolkit import plot
from toolkit.errors import ToolkitError
from toolkit.plot.sweep_lines import LANE, LEVELS
from toolkit.plot.sweep_table import MAX_HOVER_LETTERS
from toolkit.plot.theme import THEMES

LIMIT = 500_000


@pytest.fixture(scope="module")
def large() -> pd.DataFrame:
    """2000 rows of six parameters with long names."""
    random = np.random.default_rng(0)
    columns = {f"a parameter {i}": random.integers(0, 30, 2000) / 7 for i in range(6)}
    columns |= {
        name: random.random(2000) * scale for name, scale in (("seconds", 1), ("peak bytes", 1e9), ("psnr", 40))
    }
    status = random.choice(["done", "failed", "out of memory"], 2000, p=[0.9, 0.06, 0.04])
    rows = pd.DataFrame(columns).assign(status=status, error="ValueError: a message of the usual length, about a tile")
    rows.attrs["sweep"] = {"parameters": list(columns)[:6], "measures": ["seconds", "peak bytes", "psnr"]}
    return rows


def figures(table: pd.DataFrame, **more) -> dict[str, plot.Figure]:
    return {"sweep": plot.sweep(table, **more), "pareto": plot.pareto(table, **more)}


def lines(figure: plot.Figure) -> list[np.ndarray]:
    """The lines of all traces one by one, as positions on each axis."""
    drawn = [trace for trace in figure.data if trace.mode == "lines"]
    return [part for t in drawn for part in np.split(np.asarray(t.y), np.flatnonzero(np.isnan(t.y)) + 1) if len(part)]


class TestBoth:
    def test_bundle_is_small_and_the_same_twice(self, table):
        for name, figure in figures(table).items():
            bundle = figure._repr_mimebundle_()
            assert set(bundle) == {"application/vnd.plotly.v1+json", "text/html", "text/plain"}, name
            assert len(json.dumps(bundle)) < 60_000, name
            assert bundle == figures(table)[name]._repr_mimebundle_(), name
            assert Image.open(BytesIO(figure.to_png())).size == (800, figure.layout.height)
            for twin in (copy.deepcopy(figure), pickle.loads(pickle.dumps(figure)), plot.Figure(figure)):
                assert twin.to_png() == figure.to_png(), name

    def test_large(self, large):
        for name, figure in figures(large).items():
            assert len(json.dumps(figure._repr_mimebundle_())) < LIMIT, name
            assert sum(len(text) for mark in marks(figure) for text in mark.hovertext) <= 2 * MAX_HOVER_LETTERS, name

    def test_every_row_is_under_the_pointer(self, table, large):
        for rows in (table, large):
            for name, figure in figures(rows).items():
                heads = {text.partition("<br>")[0] for mark in marks(figure) for text in mark.hovertext}
                assert heads == {f"<b>row {row}</b>" for row in rows.index}, name

    def test_hover_says_all(self, table):
        for figure in figures(table).values():
            texts = {text.partition("<br>")[0]: text for mark in marks(figure) for text in mark.hovertext}
            assert (
                "tile 8<br>overlap 2<br>blend Blend.cosine()<br>time 177.8 ms<br>peak 64 MB<br>psnr 22.5 dB"
                in (texts["<b>row 3</b>"])
            )
            assert "<b>failed</b> ValueError: overlap=8: must be below 8." in texts["<b>row 4</b>"]
            assert "<b>out of memory</b> MemoryError" in texts["<b>row 12</b>"]

    def test_themes_and_table_twin(self, table):
        for theme in ("neutral", "light", "dark"):
            for figure in figures(table, theme=theme).values():
                assert figure.layout.template.layout.font.color == THEMES[theme].text
        for figure in figures(table).values():
            twin = figure.to_dataframe()
            assert len(twin) == len(table)
            assert {"tile", "overlap", "blend", "psnr", "status"} <= set(twin.columns)

    def test_columns_that_are_not_there(self, table):
        bare = pd.DataFrame({"tile": [1], "seconds": [1.0], "word": ["a"], "peak bytes": [1.0]})
        for draw in (plot.sweep, plot.pareto):
            with pytest.raises(ToolkitError, match="pass parameters"):
                draw(bare)
            with pytest.raises(ToolkitError, match="no column 'stride'"):
                draw(table, parameters=["stride"])
            with pytest.raises(ToolkitError, match="the table is empty"):
                draw(table[:0])
        with pytest.raises(ToolkitError, match="'word' has no numbers: choose one of tile, seconds"):
            plot.pareto(bare, colour="word", parameters=["tile"])
        with pytest.raises(ToolkitError, match="'blend' has no numbers"):
            plot.sweep(table, objective="blend")

    def test_where_every_point_failed(self, table):
        failed = table[table["status"] != "done"]
        with pytest.raises(ToolkitError, match="every point failed"):
            plot.sweep(failed)
        with pytest.raises(ToolkitError, match="has no numbers"):
            plot.pareto(failed)


class TestSweep:
    def test_a_line_for_each_row(self, table):
        found = lines(plot.sweep(table))
        done = table["status"] == "done"
        assert len(found) == len(table)
        ended = [line for line in found if np.float32(LANE) in line]
        assert len(ended) == (~done).sum()
        assert all(np.isfinite(line[:-1]).all() for line in found)

    def test_places_are_the_values(self, table):
        figure = plot.sweep(table, measures=["psnr"], objective="psnr")
        done = table[table["status"] == "done"]
        finite = done["psnr"][np.isfinite(done["psnr"])]
        span = finite.max() - finite.min()
        wanted = [1.0 if p == INFINITE else 0.92 * (p - finite.min()) / span for p in done["psnr"]]
        drawn = sorted(float(line[3]) for line in lines(figure) if line[3] >= 0)
        np.testing.assert_allclose(drawn, sorted(wanted), atol=1e-6)
        assert figure.layout.annotations[-2].text == "inf"
        assert figure.layout.xaxis.ticktext == ("tile", "overlap", "blend", "psnr (dB)")

    def test_rows_of_a_rung_lie_side_by_side(self, table):
        figure = plot.sweep(table)
        tiles = np.array([line[0] for line in lines(figure)])
        assert len(set(tiles[tiles > 0.9].round(5))) == 1  # all of tile 24 failed
        low = sorted(set(tiles[tiles < 0.25].round(5)))
        assert len(low) == 5
        assert max(low) - min(low) <= 0.12

    def test_colours_are_few_and_the_best_on_top(self, table):
        for objective, last in (("psnr", 1.0), ("seconds", 0.0)):
            figure = plot.sweep(table, objective=objective)
            coloured = [t for t in figure.data if t.mode == "lines" and t.line.dash is None]
            assert len(coloured) <= LEVELS + 1
            at = list(figure.layout.xaxis.ticktext).index({"psnr": "psnr (dB)", "seconds": "time (ms)"}[objective])
            assert coloured[-1].y[at] == pytest.approx(last, abs=1 / LEVELS)

    def test_the_search_says_what_is_looked_for(self, table):
        searched = table.copy()
        searched.attrs["sweep"] = {**table.attrs["sweep"], "objectives": {"peak bytes": "minimize"}}
        assert "coloured by peak (MB)" in plot.sweep(searched).layout.title.text
        assert "coloured by time (ms)" in plot.sweep(table).layout.title.text

    def test_too_many_axes(self):
        wide = pd.DataFrame({f"p{i}": [0, 1] for i in range(15)} | {"value": [1.0, 2.0]})
        with pytest.raises(ToolkitError, match="16 axes"):
            plot.sweep(wide, parameters=[f"p{i}" for i in range(15)], measures=["value"])

    def test_says_what_is_seen(self, table):
        assert plot.sweep(table, objective="psnr").describe() == (
            "18 configurations over tile, overlap, blend: 10 done, 2 failed, 6 out of memory; "
            "psnr 20 dB (tile 8, overlap 0, blend Blend.linear()) to "
            "psnr inf dB (tile 16, overlap 8, blend Blend.linear())."
        )


@pytest.mark.parametrize("draw", ["sweep", "pareto"])
def test_names_and_values_are_no_markup(draw):
    evil = "<script>alert(1)</script>"
    columns = {f"{evil} tile": [evil, "b", "c"], "seconds": [1.0, 2.0, np.nan], "peak bytes": [3.0, 1.0, np.nan]}
    rows = pd.DataFrame(columns | {f"psnr {evil}": [1.0, 2.0, np.nan], "status": ["done", "done", evil], "error": evil})
    chosen = {"parameters": [f"{evil} tile"]}
    if draw == "sweep":
        figure = plot.sweep(rows, **chosen, measures=["seconds", f"psnr {evil}"], objective=f"psnr {evil}")
    else:
        figure = plot.pareto(rows, colour=f"psnr {evil}", shape=f"{evil} tile", **chosen)
    texts = str(json.loads(figure.to_json()))  # plotly's JSON escapes every "<", so look at what is read from it
    assert "&lt;script" in texts
    assert "<script" not in texts
    assert "<b>row 0</b><br>" in texts
    assert evil in figure.describe()
    assert figure.to_png()
