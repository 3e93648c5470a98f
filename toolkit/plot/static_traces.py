"""Drawing each type of trace on matplotlib axes: one function per type, looked up in :data:`DRAW`."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from PIL import Image
from plotly.colors import get_colorscale

from toolkit.plot.static_base import POINTS_PER_PIXEL, Place, array, decode, plain, rgba
from toolkit.plot.static_text import bar_texts, cell_texts, scatter_texts

MARKERS = {
    "circle": "o",
    "diamond": "D",
    "square": "s",
    "triangle-down": "v",
    "triangle-right": ">",
    "triangle-up": "^",
    "x": "x",
    "x-thin": "x",
}
HATCHES = {"/": "////", "\\": "\\\\\\\\", "x": "xxx", ".": "...", "-": "---", "|": "|||", "+": "+++"}
MAX_HATCHED = 500
BAR_WIDTH = 0.018
"""Width of a colour bar, as a fraction of the picture's width."""


def draw_bar(place: Place, trace: Any, order: int) -> None:
    """Draw vertical or horizontal bars, each from its base."""
    lying = trace.orientation == "h"
    where, length = (array(trace.y), array(trace.x)) if lying else (array(trace.x), array(trace.y))
    base = np.broadcast_to(array(trace.base if trace.base is not None else 0.0), length.shape)
    width = np.broadcast_to(array(trace.width if trace.width is not None else 0.8), length.shape)
    low, high = where - width / 2, where + width / 2
    sides = (base, low, base + length, high) if lying else (low, base, high, base + length)
    face, edge, hatch = _fill(trace)
    # A hatch costs a millisecond per bar, and cannot be seen on bars this narrow.
    hatch = hatch if len(length) <= MAX_HATCHED else None
    line = max(0.4, (trace.marker.line.width or 0) * POINTS_PER_PIXEL)
    colours = trace.marker.color
    faces = [rgba(one) for one in colours] if isinstance(colours, tuple) else [face]
    bars = PolyCollection(_rectangles(*sides), facecolors=faces, edgecolors=[edge], linewidths=line, hatch=hatch)
    bars.set_zorder(2 + order / 1000)
    place.axes.add_collection(bars)
    place.axes.autoscale_view()
    if lying and trace.text is not None and trace.textposition == "inside":
        bar_texts(place, trace, base=base, length=length, rows=where)


def draw_scatter(place: Place, trace: Any, order: int) -> None:
    """Draw lines, markers, texts, and closed outlines with fill and hatch."""
    x, y = array(trace.x), array(trace.y)
    zorder = 3 + order / 1000
    mode = trace.mode or "lines"
    if trace.fill == "toself":
        gaps = np.flatnonzero(np.isnan(x))
        outlines = [part[~np.isnan(part[:, 0])] for part in np.split(np.stack([x, y], 1), gaps)]
        face, edge, hatch = _fill(trace)
        parts = [part for part in outlines if len(part)]
        fills = PolyCollection(parts, facecolors=[face], edgecolors=[edge], linewidths=0, hatch=hatch)
        fills.set_zorder(zorder)
        place.axes.add_collection(fills)
    if "lines" in mode and trace.line.width != 0:
        steps = "steps-post" if trace.line.shape == "hv" else "default"
        place.axes.plot(x, y, drawstyle=steps, zorder=zorder, **_stroke(trace))
    if "text" in mode:
        scatter_texts(place, trace, x=x, y=y)
    if "markers" in mode:
        size = np.max(trace.marker.size if trace.marker.size is not None else 6) * POINTS_PER_PIXEL
        style = {"marker": _symbol(trace), "alpha": trace.opacity, "zorder": zorder + 0.5}
        if trace.marker.color is None or isinstance(trace.marker.color, str):
            colour = rgba(trace.marker.color or place.ink)
            place.axes.plot(x, y, linestyle="none", color=colour, markersize=size, **style)
        else:
            scale = Normalize(trace.marker.cmin, trace.marker.cmax)
            colours = _cmap(trace.marker.colorscale)(scale(array(trace.marker.color)))
            place.axes.scatter(x, y, s=size**2, c=colours, linewidths=0, **style)


def draw_heatmap(place: Place, trace: Any, order: int) -> None:
    """Draw coloured cells, with their text if it fits."""
    if trace.opacity == 0:
        return
    z = array(trace.z)
    x, y = (
        _bounds(trace.x, trace.x0, step=trace.dx, count=z.shape[1]),
        _bounds(trace.y, trace.y0, step=trace.dy, count=z.shape[0]),
    )
    scale, cmap = Normalize(*_limits(trace)), _cmap(trace.colorscale)
    gap = (trace.xgap or 0) * POINTS_PER_PIXEL
    # Empty cells get no border.
    drawn = ~np.isnan(z.ravel()) & (cmap(scale(z.ravel()))[:, 3] > 0)
    edges = [(1.0, 1.0, 1.0, float(there)) for there in drawn] if gap else "none"
    style = {"edgecolors": edges, "linewidth": gap, "zorder": 1}
    place.axes.pcolormesh(x, y, z, cmap=cmap, norm=scale, **style)
    if trace.text is not None and trace.texttemplate:
        cell_texts(place, trace.text, bounds=(x, y), colours=cmap(scale(z)), given=trace.textfont.size)


def draw_image(place: Place, trace: Any, order: int) -> None:
    """Draw a picture given as a data URI."""
    pixels = np.asarray(Image.open(BytesIO(b64decode(trace.source.partition(",")[2]))).convert("RGB"))
    height, width = pixels.shape[:2]
    dx, dy = trace.dx or 1, trace.dy or 1
    left, top = (trace.x0 or 0) - dx / 2, (trace.y0 or 0) - dy / 2
    extent = (left, left + width * dx, top + height * dy, top)
    place.axes.imshow(pixels, extent=extent, aspect="auto", interpolation="antialiased", zorder=0)


def has_colour_bar(trace: Any) -> bool:
    """Whether a trace has a colour bar: heatmaps have one by default, markers only on request."""
    if trace.visible not in (None, True):
        return False
    if trace.type == "heatmap":
        return trace.showscale is not False
    return bool(trace.type == "scatter" and trace.marker.showscale)


def draw_colour_bar(place: Place, trace: Any) -> None:
    """Draw the colour bar of a heatmap or of a scatter's markers, to the right of the axes."""
    if trace.type == "heatmap":
        scaled, limits = trace, _limits(trace)
    else:
        scaled, limits = trace.marker, (trace.marker.cmin, trace.marker.cmax)
    wide = place.axes.get_position().width
    side = place.axes.inset_axes((1 + BAR_WIDTH / wide, 0.0, BAR_WIDTH / wide, 1.0))
    bar = place.axes.figure.colorbar(ScalarMappable(Normalize(*limits), _cmap(scaled.colorscale)), cax=side)
    bar.outline.set_visible(False)
    given = scaled.colorbar
    if given.tickvals is not None:
        bar.set_ticks(list(given.tickvals), labels=[str(one) for one in given.ticktext or given.tickvals])
    bar.ax.tick_params(length=0, labelsize=8, colors=rgba(place.ink), labelfontfamily=place.font)
    bar.ax.set_title(plain(given.title.text), loc="left", pad=9, **place.text(8.5))


def handle(trace: Any) -> Artist:
    """The entry for a trace in the legend."""
    if trace.type == "bar" or (trace.type == "scatter" and trace.fill == "toself"):
        face, edge, hatch = _fill(trace)
        return Patch(facecolor=face, edgecolor=edge, hatch=hatch, linewidth=0.4, label=trace.name)
    if trace.mode == "markers":
        colour = rgba(trace.marker.color) if isinstance(trace.marker.color, str) else rgba("#888888")
        return Line2D([], [], label=trace.name, linestyle="none", marker=_symbol(trace), color=colour, markersize=5)
    return Line2D([], [], label=trace.name, **_stroke(trace))


DRAW: dict[str, Callable[[Place, Any, int], None]] = {
    "bar": draw_bar,
    "scatter": draw_scatter,
    "heatmap": draw_heatmap,
    "image": draw_image,
}
"""The function that draws each type of trace, given the axes, the trace and its index in the figure."""


def _symbol(trace: Any) -> str:
    return MARKERS.get(trace.marker.symbol or "circle", "o")


def _fill(trace: Any) -> tuple[Any, Any, str | None]:
    """Face colour, edge colour and hatch. Matplotlib draws a hatch in the edge colour."""
    pattern = trace.marker.pattern if trace.type == "bar" else trace.fillpattern
    face = trace.marker.color if trace.type == "bar" else trace.fillcolor
    face = face[0] if isinstance(face, tuple) else face
    return rgba(face or "#888888"), rgba(pattern.fgcolor), HATCHES.get(pattern.shape or "")


def _stroke(trace: Any) -> dict[str, Any]:
    width = 2 if trace.line.width is None else trace.line.width
    colour = trace.line.color or (trace.marker.color if isinstance(trace.marker.color, str) else None) or "#888888"
    return {
        "color": rgba(colour),
        "linewidth": width * POINTS_PER_PIXEL,
        "linestyle": decode(trace.line.dash),
        "alpha": trace.opacity,
    }


def _rectangles(left: np.ndarray, low: np.ndarray, right: np.ndarray, high: np.ndarray) -> list[np.ndarray]:
    x, y = np.stack([left, right, right, left], 1), np.stack([low, low, high, high], 1)
    return list(np.stack([x, y], 2))


def _bounds(values: Any, start: float | None, *, step: float | None, count: int) -> np.ndarray:
    """The edges of a heatmap's cells, given as edges, as centres, or as a start and a step."""
    if values is None:
        return (start or 0) + (step or 1) * (np.arange(count + 1) - 0.5)
    given = array(values).astype(float)
    if len(given) == count + 1:
        return given
    gaps = np.diff(given) if count > 1 else np.ones(1)
    return np.concatenate([[given[0] - gaps[0] / 2], given[:-1] + np.diff(given) / 2, [given[-1] + gaps[-1] / 2]])


def _limits(heat: Any) -> tuple[float, float]:
    """The values at the two ends of a heatmap's colour scale."""
    z = array(heat.z)
    low = float(np.nanmin(z)) if heat.zmin is None else heat.zmin
    return low, float(np.nanmax(z)) if heat.zmax is None else heat.zmax


def _cmap(colorscale: Any) -> LinearSegmentedColormap:
    stops = get_colorscale("Viridis") if colorscale is None else colorscale
    return LinearSegmentedColormap.from_list("scale", [(place, rgba(colour)) for place, colour in stops])
