"""The axes of a figure's PNG: where each pair lies, its limits, and its labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox, BboxTransformTo, Transform, TransformedBbox

from toolkit.plot.static_base import Place, plain, rgba, style

Box = tuple[float, float, float, float]
Places = Mapping[tuple[str, str], Place]
"""Axes by their names in a trace: ``("x", "y")``, ``("x2", "y")`` ..."""

FONT = "DejaVu Sans"
EDGE = 4
"""Pixels that stay free to the left of the leftmost label."""


def places_of(canvas: Figure, figure: go.Figure, *, box: Box) -> Places:
    """One place for each pair of axes that a trace is drawn on, starting with the figure's first pair."""
    ink = style(figure.layout, "font.color", default="#444444")
    pairs = [("x", "y"), *((trace["xaxis"] or "x", trace["yaxis"] or "y") for trace in figure.data if _flat(trace))]
    return {pair: _place(canvas, figure.layout, pair=pair, box=box, ink=ink) for pair in dict.fromkeys(pairs)}


def paper(canvas: Figure, box: Box) -> Transform:
    """The transform of plotly's paper: coordinates 0 to 1 across all axes together."""
    return BboxTransformTo(TransformedBbox(Bbox.from_bounds(*box), canvas.transFigure))


def span(place: Place, layout: Any, *, given: bool) -> None:
    """Set the limits that the figure gives; if ``given`` is false, also those that follow from the data."""
    for letter in "xy":
        axis = layout[place.axis(letter)]
        if axis.type == "log":
            (place.axes.set_xscale if letter == "x" else place.axes.set_yscale)("log", nonpositive="mask")
        if axis.range is not None or not given:
            _range(place.axes, axis, letter=letter)
        if axis.scaleanchor:
            place.axes.set_aspect("equal", adjustable="box", anchor="C")


def label(place: Place, layout: Any) -> None:
    """Draw the ticks, grid lines and titles of a pair of axes."""
    for letter in "xy":
        axis, target = layout[place.axis(letter)], place.axes.xaxis if letter == "x" else place.axes.yaxis
        _ticks(axis, target)
        if axis.showgrid is not False:
            grid = axis.gridcolor or style(layout, f"{letter}axis.gridcolor", default="#DDDDDD")
            target.grid(True, color=rgba(grid), linewidth=0.8)
        if axis.visible is False:
            target.set_visible(False)
            continue
        labelled = axis.showticklabels is not False
        place.axes.tick_params(axis=letter, length=0, colors=rgba(place.ink), labelsize=8.5)
        place.axes.tick_params(axis=letter, labelleft=labelled, labelbottom=labelled)
        for tick in target.get_ticklabels():
            tick.set_fontfamily(place.font)
        target.set_label_text(plain(axis.title.text), **place.text(9))


def make_room(canvas: Figure, places: Places) -> None:
    """Narrow the leftmost axes if their labels would leave the picture."""
    renderer = FigureCanvasAgg(canvas).get_renderer()
    for place in places.values():
        found = place.axes.yaxis.get_tightbbox(renderer)
        over = 0.0 if found is None else EDGE - found.x0
        if over > 0:
            share, box = over / canvas.bbox.width, place.axes.get_position(original=True)
            place.axes.set_position((box.x0 + share, box.y0, box.width - share, box.height))


def _flat(trace: Any) -> bool:
    """Whether a trace is drawn on a pair of axes; a pie, for example, is not."""
    return "xaxis" in trace and "yaxis" in trace


def _place(canvas: Figure, layout: Any, *, pair: tuple[str, str], box: Box, ink: str) -> Place:
    names = (f"xaxis{pair[0][1:]}", f"yaxis{pair[1][1:]}")
    (left, right), (low, high) = (layout[name].domain or (0.0, 1.0) for name in names)
    x, y, width, height = box
    place = (x + left * width, y + low * height, (right - left) * width, (high - low) * height)
    # Without a distinct label, older versions of matplotlib return the same object for axes in the same place.
    axes = canvas.add_axes(place, facecolor="none", label=" ".join(pair))
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_axisbelow(True)
    return Place(axes, ink, FONT, names)


def _ticks(axis: Any, target: Any) -> None:
    if axis.type == "log":
        target.set_major_locator(LogLocator(subs=(1, 2, 5)))
        target.set_major_formatter(FormatStrFormatter("%g"))
        target.set_minor_locator(NullLocator())
    if axis.tickvals is not None:
        labels = axis.ticktext if axis.ticktext is not None else axis.tickvals
        target.set_major_locator(FixedLocator(list(axis.tickvals)))
        target.set_ticklabels([plain(str(one)) for one in labels])


def _range(axes: Axes, axis: Any, *, letter: str) -> None:
    limits, bounds = (axes.set_xlim, axes.get_xlim) if letter == "x" else (axes.set_ylim, axes.get_ylim)
    if axis.range is not None:
        low, high = axis.range
        limits(*((10**low, 10**high) if axis.type == "log" else (low, high)))
        return
    if axis.rangemode == "tozero":
        limits(min(bounds()[0], 0.0), bounds()[1])
    if axis.autorange == "reversed":
        limits(*sorted(bounds(), reverse=True))
