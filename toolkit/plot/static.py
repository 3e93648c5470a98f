"""A figure as a PNG without a browser: reads the figure's own traces and layout, and draws them with matplotlib's Agg.

It can draw everything that the toolkit's figures consist of, and lists anything else in the corner of the picture.
Sliders are left out: the picture shows what the figure shows first. It does not use pyplot, changes no settings and
writes no metadata, so the same figure always gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import plotly.graph_objects as go
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Transform
from PIL import Image

from toolkit.plot.static_axes import FONT, Box, Places, label, make_room, paper, places_of, span
from toolkit.plot.static_base import DPI, POINTS_PER_PIXEL, Place, decode, plain, rgba, style
from toolkit.plot.static_traces import DRAW, draw_colour_bar, handle, has_colour_bar

DEFAULT_SIZE = (800, 450)
SIDE_MARGIN = 176
BAR_MARGIN = 80
"""Least margin for a colour bar; figures with a smaller one get SIDE_MARGIN."""
LEGEND_LETTERS = 110
FIRST = ("x", "y")


def png(figure: go.Figure) -> bytes:
    r"""Draw a figure in its own size, without a ground if its paper is transparent.

    Args:
        figure: A figure made of bars, scatters, images, heatmaps, shapes and annotations, on one or several pairs of
            axes.

    Returns:
        The bytes of a PNG; the same figure always gives the same bytes.

    Example:
        >>> picture = png(go.Figure(go.Bar(x=[1, 2], y=[3, 4])))
        >>> picture[:4], picture == png(go.Figure(go.Bar(x=[1, 2], y=[3, 4])))
        (b'\x89PNG', True)
    """
    layout = figure.layout
    width, height = layout.width or DEFAULT_SIZE[0], layout.height or DEFAULT_SIZE[1]
    # Half a pixel more: matplotlib before 3.11 cuts 2.3 inches at 100 dots per inch to 229 pixels.
    inches = ((width + 0.5) / DPI, (height + 0.5) / DPI)
    canvas = Figure(figsize=inches, dpi=DPI, facecolor=_background(layout))
    box = _box(figure, width, height=height)
    places = places_of(canvas, figure, box=box)
    # Limits that the figure gives come first, because text is sized to fit its cells. All limits are set again after
    # the traces are drawn, because drawing moves them.
    for place in places.values():
        span(place, layout, given=True)
    left_out = _traces(places, figure)
    for place in places.values():
        span(place, layout, given=False)
        label(place, layout)
    whole = paper(canvas, box)
    for shape in layout.shapes:
        _shape(_under(places, shape), shape, whole=whole)
    for note in layout.annotations:
        _annotation(_under(places, note), note, whole=whole)
    _title(canvas, places[FIRST], layout=layout, height=height)
    _legend(places[FIRST], figure, whole=whole)
    for trace in filter(has_colour_bar, figure.data):
        draw_colour_bar(places[trace.xaxis or "x", trace.yaxis or "y"], trace)
    if left_out:
        canvas.text(0.99, 0.01, f"not drawn here: {', '.join(left_out)}", ha="right", **places[FIRST].text(7))
    make_room(canvas, places)
    return _encode(canvas)


def _encode(canvas: Figure) -> bytes:
    """The drawn canvas in 256 colours: a third of the size of full colour, with no visible difference."""
    agg: Any = FigureCanvasAgg(canvas)
    agg.draw()
    pixels: Any = Image.fromarray(np.asarray(agg.buffer_rgba()))
    pixels = pixels if pixels.getpixel((0, 0))[3] < 255 else pixels.convert("RGB")
    few = pixels.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # Quantising may shift the background by a shade, which would show as a rectangle on the page: restore it.
    channels = len(pixels.mode)
    palette: Any = few.getpalette(pixels.mode)
    ground: Any = few.getpixel((0, 0))
    palette[channels * ground : channels * (ground + 1)] = pixels.getpixel((0, 0))
    few.putpalette(palette, pixels.mode)
    buffer = BytesIO()
    few.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _box(figure: go.Figure, width: float, *, height: float) -> Box:
    """The rectangle of all axes within the figure's margins, with room for a legend or a colour bar on the right."""
    layout, margin = figure.layout, figure.layout.margin
    left, top, bottom = (margin[side] if margin[side] is not None else 60 for side in "ltb")
    right = margin.r if margin.r is not None else 20
    beside = _has_legend(figure) and layout.legend.orientation != "h"
    if beside or (right < BAR_MARGIN and any(map(has_colour_bar, figure.data))):
        right = max(right, SIDE_MARGIN)
    return (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)


def _traces(places: Places, figure: go.Figure) -> list[str]:
    """Draw every trace, and return the types of those that this renderer cannot draw."""
    left_out = set()
    for order, trace in enumerate(figure.data):
        if trace.visible not in (None, True):
            continue
        try:
            DRAW[trace.type](places[trace.xaxis or "x", trace.yaxis or "y"], trace, order)
        except (AttributeError, KeyError, TypeError, ValueError):
            # Users may add any kind of trace; failing to draw it here must not stop the figure itself from showing.
            left_out.add(trace.type)
    return sorted(left_out)


def _under(places: Places, item: Any) -> Place:
    """The axes that a shape or an annotation refers to; the first ones if it refers to the paper."""
    for (x, y), place in places.items():
        if item.xref in (None, "paper", x) and item.yref in (None, "paper", y):
            return place
    return places[FIRST]


def _shape(place: Place, shape: Any, *, whole: Transform) -> None:
    x, y = ((shape.x0, shape.x1), (shape.y0, shape.y1))
    axes, transform = place.axes, place.axes.transData
    if shape.xref == shape.yref == "paper":
        transform = whole
    elif shape.yref == "paper":
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
            clip_on=transform is not whole,
        )


def _annotation(place: Place, note: Any, *, whole: Transform) -> None:
    across = {"left": "left", "right": "right"}.get(note.xanchor, "center")
    up = {"top": "top", "bottom": "bottom"}.get(note.yanchor, "center")
    transform = whole if note.xref == "paper" else place.axes.transData
    size = (note.font.size or 12) * POINTS_PER_PIXEL
    look = place.text(size) | {"color": rgba(note.font.color or place.ink)}
    place.axes.text(note.x, note.y, plain(note.text), ha=across, va=up, transform=transform, **look)


def _title(canvas: Figure, place: Place, *, layout: Any, height: float) -> None:
    size = (layout.title.font.size or 17) * POINTS_PER_PIXEL
    x = 0.05 if layout.title.x is None else layout.title.x
    canvas.text(x, 1 - 22 / height, plain(layout.title.text), va="center", ha="left", **place.text(size))


def _has_legend(figure: go.Figure) -> bool:
    shown = figure.layout.showlegend
    return bool(shown) and any(True for _ in _listed(figure))


def _listed(figure: go.Figure) -> Iterator[Any]:
    return (trace for trace in figure.data if trace.showlegend is not False and trace.name and trace.type in DRAW)


def _legend(place: Place, figure: go.Figure, *, whole: Transform) -> None:
    if not _has_legend(figure):
        return
    handles = [handle(trace) for trace in _listed(figure)]
    longest = max(len(str(one.get_label())) for one in handles)
    given = figure.layout.legend
    above, y = given.orientation == "h", 1.0 if given.y is None else given.y
    place.axes.legend(
        handles=handles,
        loc="lower left" if above else "upper left",
        bbox_to_anchor=(0.0, y) if above else (1.01, y),
        bbox_transform=whole,
        ncols=max(1, LEGEND_LETTERS // (longest + 8)) if above else 1,
        borderaxespad=0,
        frameon=False,
        labelcolor=rgba(place.ink),
        prop={"family": FONT, "size": 8},
    )


def _background(layout: Any) -> tuple[float, float, float, float]:
    return rgba(style(layout, "paper_bgcolor", default="#FFFFFF"))
