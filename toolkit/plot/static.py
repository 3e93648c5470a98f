"""A figure as a PNG without a browser: reads the figure's own traces and layout, draws with matplotlib's Agg.

It knows what the toolkit's figures are made of, and names whatever else it meets in the picture's corner. No
pyplot, no settings changed, no metadata: the same figure gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, LogLocator, NullLocator
from PIL import Image

from toolkit.plot.static_base import DPI, POINTS_PER_PIXEL, Place, decode, rgba
from toolkit.plot.static_traces import DRAW, draw_colour_bar, handle

DEFAULT_SIZE = (800, 450)
SIDE_MARGIN = 176
LEGEND_LETTERS = 110
FONT = "DejaVu Sans"


def png(figure: go.Figure) -> bytes:
    r"""Draw a figure at its own size, on white where its paper is transparent.

    Args:
        figure: made of bars, scatters, images, heatmaps, shapes and annotations on one pair of axes.

    Returns:
        The bytes of a PNG, the same for the same figure.

    Example:
        >>> picture = png(go.Figure(go.Bar(x=[1, 2], y=[3, 4])))
        >>> picture[:4], picture == png(go.Figure(go.Bar(x=[1, 2], y=[3, 4])))
        (b'\x89PNG', True)
    """
    layout = figure.layout
    width, height = layout.width or DEFAULT_SIZE[0], layout.height or DEFAULT_SIZE[1]
    canvas = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=_paper(layout))
    place = Place(_frame(canvas, figure, width, height), _style(layout, "font.color", "#444444"), FONT)
    # Given limits first, since text is sized to the cells it goes into; and all again: traces move them.
    _limits(place.axes, layout, given=True)
    left_out = _traces(place, figure)
    _limits(place.axes, layout, given=False)
    _axis(place, layout, "x")
    _axis(place, layout, "y")
    for shape in layout.shapes:
        _shape(place.axes, shape)
    for note in layout.annotations:
        _annotation(place, note)
    _title(canvas, place, layout, height)
    _legend(place, figure)
    for trace in figure.data:
        if trace.type == "scatter" and trace.marker.showscale:
            draw_colour_bar(place, trace.marker)
    if left_out:
        canvas.text(0.99, 0.01, f"not drawn here: {', '.join(left_out)}", ha="right", **place.text(7))
    return _encode(canvas)


def plain(text: str | None) -> str:
    r"""Plotly's small HTML as plain text.

    Example:
        >>> plain("<b>tile 3</b><br>rank 1")
        'tile 3\nrank 1'
    """
    return re.sub(r"</?[a-z]+[^<>]*>", "", re.sub(r"<br ?/?>", "\n", text or ""))


def _encode(canvas: Figure) -> bytes:
    """The drawn canvas in 256 colours: a third of the bytes of full colour, no difference to the eye."""
    agg: Any = FigureCanvasAgg(canvas)
    agg.draw()
    pixels = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")
    few = pixels.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # The paper's own colour must come out as itself, or the picture shows as a card on a white page.
    palette: Any = few.getpalette()
    paper: Any = few.getpixel((0, 0))
    palette[3 * paper : 3 * paper + 3] = pixels.getpixel((0, 0))
    few.putpalette(palette)
    buffer = BytesIO()
    few.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _frame(canvas: Figure, figure: go.Figure, width: float, height: float) -> Axes:
    """The axes inside the figure's margins, with room for a legend or a colour bar on the right."""
    layout, margin = figure.layout, figure.layout.margin
    left, top, bottom = (margin[side] if margin[side] is not None else 60 for side in "ltb")
    right = margin.r if margin.r is not None else 20
    beside = _has_legend(figure) and layout.legend.orientation != "h"
    if beside or any(t.type == "scatter" and t.marker.showscale for t in figure.data):
        right = max(right, SIDE_MARGIN)
    box = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    axes = canvas.add_axes(box, facecolor="none")
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_axisbelow(True)
    return axes


def _traces(place: Place, figure: go.Figure) -> list[str]:
    """Draw every trace, and name the types of those that this renderer cannot draw."""
    left_out = set()
    for order, trace in enumerate(figure.data):
        if trace.visible not in (None, True):
            continue
        try:
            DRAW[trace.type](place, trace, order)
        except (KeyError, TypeError, ValueError):
            # A user may have added anything; a missing picture must not keep the figure itself from showing.
            left_out.add(trace.type)
    return sorted(left_out)


def _limits(axes: Axes, layout: Any, given: bool) -> None:
    for name in "xy":
        axis = layout[f"{name}axis"]
        if axis.type == "log":
            (axes.set_xscale if name == "x" else axes.set_yscale)("log", nonpositive="mask")
        if axis.range is not None or not given:
            _range(axes, axis, name)
        if axis.scaleanchor:
            axes.set_aspect("equal", adjustable="box", anchor="C")


def _axis(place: Place, layout: Any, name: Literal["x", "y"]) -> None:
    axis, axes = layout[f"{name}axis"], place.axes
    target = axes.xaxis if name == "x" else axes.yaxis
    if axis.type == "log":
        target.set_major_locator(LogLocator(subs=(1, 2, 5)))
        target.set_major_formatter(FormatStrFormatter("%g"))
        target.set_minor_locator(NullLocator())
    if axis.tickvals is not None:
        labels = axis.ticktext if axis.ticktext is not None else axis.tickvals
        target.set_major_locator(FixedLocator(list(axis.tickvals)))
        target.set_ticklabels([plain(str(label)) for label in labels])
    grid = _style(layout, f"{name}axis.gridcolor", "#DDDDDD")
    if axis.showgrid is not False:
        target.grid(True, color=rgba(grid), linewidth=0.8)
    labelled = axis.showticklabels is not False
    axes.tick_params(axis=name, length=0, colors=rgba(place.ink), labelsize=8.5)
    axes.tick_params(axis=name, labelleft=labelled, labelbottom=labelled)
    for label in target.get_ticklabels():
        label.set_fontfamily(place.font)
    target.set_label_text(plain(axis.title.text), **place.text(9))


def _range(axes: Axes, axis: Any, name: str) -> None:
    limits, bounds = (axes.set_xlim, axes.get_xlim) if name == "x" else (axes.set_ylim, axes.get_ylim)
    if axis.range is not None:
        low, high = axis.range
        limits(*((10**low, 10**high) if axis.type == "log" else (low, high)))
        return
    if axis.rangemode == "tozero":
        limits(min(bounds()[0], 0.0), bounds()[1])
    if axis.autorange == "reversed":
        limits(*sorted(bounds(), reverse=True))


def _shape(axes: Axes, shape: Any) -> None:
    x, y = ((shape.x0, shape.x1), (shape.y0, shape.y1))
    transform = axes.transData
    if shape.yref == "paper":
        transform = axes.get_xaxis_transform()
    elif shape.xref == "paper":
        transform = axes.get_yaxis_transform()
    width, colour = shape.line.width, rgba(shape.line.color or "#444444")
    width = (2 if width is None else width) * POINTS_PER_PIXEL
    if shape.type == "rect":
        corners = ([x[0], x[1], x[1], x[0]], [y[0], y[0], y[1], y[1]])
        axes.fill(
            *corners,
            facecolor=rgba(shape.fillcolor),
            edgecolor=colour,
            linewidth=width,
            transform=transform,
            zorder=4,
        )
    elif shape.type == "line":
        axes.plot(
            x,
            y,
            color=colour,
            linewidth=width,
            linestyle=decode(shape.line.dash),
            transform=transform,
            zorder=5,
        )


def _annotation(place: Place, note: Any) -> None:
    paper = note.xref == "paper"
    across = {"left": "left", "right": "right"}.get(note.xanchor, "center")
    up = {"top": "top", "bottom": "bottom"}.get(note.yanchor, "center")
    transform = place.axes.transAxes if paper else place.axes.transData
    size = (note.font.size or 12) * POINTS_PER_PIXEL
    style = place.text(size) | {"color": rgba(note.font.color or place.ink)}
    place.axes.text(note.x, note.y, plain(note.text), ha=across, va=up, transform=transform, **style)


def _title(canvas: Figure, place: Place, layout: Any, height: float) -> None:
    size = (layout.title.font.size or 17) * POINTS_PER_PIXEL
    x = 0.05 if layout.title.x is None else layout.title.x
    canvas.text(x, 1 - 22 / height, plain(layout.title.text), va="center", ha="left", **place.text(size))


def _has_legend(figure: go.Figure) -> bool:
    shown = figure.layout.showlegend
    return bool(shown) and any(True for _ in _listed(figure))


def _listed(figure: go.Figure) -> Iterator[Any]:
    return (trace for trace in figure.data if trace.showlegend is not False and trace.name and trace.type in DRAW)


def _legend(place: Place, figure: go.Figure) -> None:
    if not _has_legend(figure):
        return
    handles = [handle(trace) for trace in _listed(figure)]
    longest = max(len(str(one.get_label())) for one in handles)
    above = figure.layout.legend.orientation == "h"
    place.axes.legend(
        handles=handles,
        loc="lower left" if above else "upper left",
        bbox_to_anchor=(0.0, 1.0) if above else (1.01, 1.0),
        ncols=max(1, LEGEND_LETTERS // (longest + 8)) if above else 1,
        borderaxespad=0,
        frameon=False,
        labelcolor=rgba(place.ink),
        prop={"family": place.font, "size": 8},
    )


def _paper(layout: Any) -> tuple[float, float, float, float]:
    colour = rgba(_style(layout, "paper_bgcolor", "#FFFFFF"))
    return colour if colour[3] > 0 else (1.0, 1.0, 1.0, 1.0)


def _style(layout: Any, key: str, default: str) -> str:
    """A colour as the layout says it, else as its template does."""
    return str(layout[key] or layout.template.layout[key] or default)
