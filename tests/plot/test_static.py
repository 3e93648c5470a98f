"""The PNG beside a figure: it shows the figure's own numbers, and says what it leaves out."""

from base64 import b64encode
from io import BytesIO

import matplotlib as mpl
import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from toolkit.plot.figure import Figure
from toolkit.plot.static import plain, png
from toolkit.plot.static_base import array, rgba


def pixels(figure: go.Figure) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png(figure))).convert("RGB")).astype(int)


def amount(figure: go.Figure, colour: str) -> int:
    """The number of pixels of a colour, allowing for quantisation."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(pixels(figure) - wanted).max(-1) < 12).sum())


def bare(*traces: object, **layout: object) -> go.Figure:
    """A figure without text and grid, so that everything coloured is data."""
    axis = {"showgrid": False, "showticklabels": False, "range": [0, 10]}
    common = {"width": 400, "height": 300, "xaxis": axis, "yaxis": axis, "showlegend": False}
    return go.Figure(data=list(traces), layout={**common, **layout})


def area(figure: go.Figure) -> float:
    return (400 - 80) * (300 - 120)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_bars_cover_what_they_should(share):
    bar = go.Bar(orientation="h", y=[5], base=[0], x=[10 * share], width=10, marker={"color": "#D55E00"})
    figure = bare(bar)
    assert amount(figure, "#D55E00") == pytest.approx(share * area(figure), rel=0.03)


def test_upright_bars_too():
    figure = bare(go.Bar(x=[5], y=[5], width=[4], marker={"color": "#D55E00"}))
    assert amount(figure, "#D55E00") == pytest.approx(0.2 * area(figure), rel=0.03)


def test_outlines_are_filled_each_by_itself():
    x = [0, 2, 2, 0, 0, None, 8, 10, 10, 8, 8]
    y = [0, 0, 10, 10, 0, None, 0, 0, 10, 10, 0]
    trace = go.Scatter(x=x, y=y, mode="lines", fill="toself", fillcolor="#009E73", line={"width": 0})
    figure = bare(trace)
    assert amount(figure, "#009E73") == pytest.approx(0.4 * area(figure), rel=0.05)


def test_heatmap_cells_and_a_reversed_axis():
    scale = [[0, "#0072B2"], [0.5, "#0072B2"], [0.5, "#E69F00"], [1, "#E69F00"]]
    heat = go.Heatmap(x=[0, 10], y=[0, 2, 10], z=[[0], [1]], colorscale=scale, zmin=0, zmax=1, showscale=False)
    figure = bare(heat, yaxis={"range": [10, 0], "showticklabels": False, "showgrid": False})
    assert amount(figure, "#0072B2") == pytest.approx(0.2 * area(figure), rel=0.03)
    rows = np.flatnonzero((np.abs(pixels(figure) - [0, 0x72, 0xB2]).max(-1) < 12).any(1))
    assert rows.max() < 150, "0 is at the top"


def test_image_lies_where_it_says():
    buffer = BytesIO()
    Image.new("RGB", (5, 10), "#CC79A7").save(buffer, "PNG")
    encoded = b64encode(buffer.getvalue()).decode()
    image = go.Image(source=f"data:image/png;base64,{encoded}", x0=0.5, y0=0.5, dx=1, dy=1)
    figure = bare(image, yaxis={"range": [10, 0], "showticklabels": False, "showgrid": False})
    assert amount(figure, "#CC79A7") == pytest.approx(0.5 * area(figure), rel=0.03)


def test_steps_hold_their_value_until_the_next_point():
    line = {"shape": "hv", "color": "#0072B2", "width": 4}
    figure = bare(go.Scatter(x=[0, 9, 10], y=[8, 2, 2], mode="lines", line=line))
    columns = pixels(figure)[:, 200]
    rows = np.flatnonzero(np.abs(columns - [0, 0x72, 0xB2]).max(-1) < 12)
    # The plot runs from row 60 (y = 10) to 240 (y = 0); halfway the line is still at 8.
    assert rows.mean() == pytest.approx(60 + 180 * 0.2, abs=2)


def test_log_axis():
    trace = go.Scatter(x=[0, 10], y=[0.01, 0.01], mode="lines", line={"color": "#0072B2", "width": 4})
    axis = {"type": "log", "range": [-4, 0], "showticklabels": False, "showgrid": False}
    rows = np.flatnonzero((np.abs(pixels(bare(trace, yaxis=axis)) - [0, 0x72, 0xB2]).max(-1) < 12).any(1))
    assert rows.mean() == pytest.approx(150, abs=2)


def test_shapes():
    rect = {"type": "rect", "x0": 0, "x1": 5, "y0": 0, "y1": 10, "fillcolor": "#D55E00", "line": {"width": 0}}
    figure = bare(go.Scatter(x=[0], y=[0]), shapes=[rect])
    assert amount(figure, "#D55E00") == pytest.approx(0.5 * area(figure), rel=0.03)


def test_hidden_traces_stay_hidden():
    bar = {"orientation": "h", "y": [5], "x": [10], "width": 10, "marker": {"color": "#D55E00"}}
    assert amount(bare(go.Bar(**bar, visible=False)), "#D55E00") == 0
    assert amount(bare(go.Bar(**bar, visible="legendonly")), "#D55E00") == 0


@pytest.mark.parametrize("trace", [go.Pie(values=[1, 2]), go.Scatter(x=["a", "b"], y=["c", "d"])])
def test_what_it_cannot_draw_is_said_and_harms_nothing(trace):
    with_note, without = bare(trace), bare()
    assert png(with_note) != png(without)
    assert set(Figure(with_note)._repr_mimebundle_()) >= {"text/html"}


def test_settings_of_the_session_are_neither_used_nor_changed():
    figure = bare(go.Scatter(x=[0, 9], y=[1, 5]), title="a $title$ with <b>signs</b> & 50 %")
    before, settings = png(figure), dict(mpl.rcParams)
    assert dict(mpl.rcParams) == settings
    with mpl.rc_context({"axes.facecolor": "red", "font.family": "serif", "figure.facecolor": "blue"}):
        assert png(figure) == before


def test_dark_paper_is_kept_and_transparent_paper_lets_the_page_through():
    assert pixels(bare(paper_bgcolor="#111111"))[0, 0].tolist() == [17] * 3
    bar = go.Bar(orientation="h", y=[5], x=[10], width=10, marker={"color": "#D55E00"})
    clear = Image.open(BytesIO(png(bare(bar, paper_bgcolor="rgba(0,0,0,0)")))).convert("RGBA")
    assert clear.getpixel((0, 0))[3] == 0
    assert clear.getpixel((200, 150)) == (0xD5, 0x5E, 0x00, 255)


def test_packed_arrays():
    packed = {"dtype": "f4", "bdata": "AACAPwAAAEA=", "shape": "1,2"}
    assert array(packed).tolist() == [[1.0, 2.0]]


def test_colours_and_text():
    assert rgba("rgb(255, 0, 51)") == (1.0, 0.0, 0.2, 1.0)
    assert rgba("red") == (1.0, 0.0, 0.0, 1.0)
    assert plain("a < b <i>c</i><br/>d") == "a < b c\nd"
    assert plain(None) == ""


def test_two_pairs_of_axes_lie_where_their_domains_are():
    bars = [
        {"type": "bar", "x": [5], "y": [10], "width": 10, "marker": {"color": colour}}
        for colour in ("#D55E00", "#009E73")
    ]
    axis = {"showgrid": False, "showticklabels": False, "range": [0, 10]}
    low, high = {**axis, "domain": [0, 0.25]}, {**axis, "domain": [0.5, 1], "anchor": "x2"}
    figure = bare(bars[0], bars[1] | {"xaxis": "x2", "yaxis": "y2"}, yaxis=low, xaxis2=axis, yaxis2=high)
    assert amount(figure, "#D55E00") == pytest.approx(0.25 * area(figure), rel=0.05)
    assert amount(figure, "#009E73") == pytest.approx(0.5 * area(figure), rel=0.03)
    rows = [
        np.flatnonzero((np.abs(pixels(figure) - colour).max(-1) < 12).any(1))
        for colour in ([0, 0x9E, 0x73], [0xD5, 0x5E, 0])
    ]
    assert rows[0].max() < rows[1].min(), "y2 is above y"


def test_shapes_on_paper_span_all_axes():
    axis = {"showgrid": False, "showticklabels": False, "range": [0, 10]}
    line = {"type": "line", "xref": "paper", "yref": "paper", "x0": 0.5, "x1": 0.5, "y0": 0, "y1": 1}
    shape = {**line, "line": {"color": "#D55E00", "width": 10}}
    figure = bare(go.Scatter(x=[0], y=[0]), xaxis={**axis, "domain": [0, 0.2]}, yaxis=axis, shapes=[shape])
    columns = np.flatnonzero((np.abs(pixels(figure) - [0xD5, 0x5E, 0]).max(-1) < 12).any(0))
    assert columns.mean() == pytest.approx(60 + (400 - 80) / 2, abs=1)


def test_a_heatmap_has_a_colour_bar_and_no_lines_around_empty_cells():
    heat = {"type": "heatmap", "z": [[1.0, np.nan]], "zmin": 0, "zmax": 2, "xgap": 4, "colorscale": "Viridis"}
    range_ = {"range": [-0.5, 1.5], "showgrid": False, "showticklabels": False}
    dark = {"paper_bgcolor": "#111111", "width": 600, "xaxis": range_}
    figure = bare(heat, **dark)
    shown = pixels(figure)
    assert amount(figure, "#FDE725") > 5, "the yellow end of the scale is in the bar alone"
    right = shown[70:230, 270:420]
    assert (np.abs(right - 255).max(-1) > 12).all(), "nothing white around the empty cell"
    assert amount(bare({**heat, "showscale": False}, **dark), "#FDE725") == 0


def test_a_long_name_of_an_axis_stays_in_the_picture():
    labels = {"tickvals": [5], "ticktext": ["a label that takes all of the margin"], "range": [0, 10]}
    figure = bare(go.Scatter(x=[0], y=[0]), yaxis={**labels, "title": {"text": "name"}})
    assert (pixels(figure)[:, :3] == 255).all()
    assert (pixels(figure)[:, 4:30] < 200).any()
