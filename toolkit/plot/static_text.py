"""Text on the bars and cells of a figure's PNG, wherever it fits."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D, IdentityTransform

from toolkit.geometry.drawing.palette import text_on
from toolkit.plot.static_base import POINTS_PER_PIXEL, Place, plain, rgba

LARGE_TEXT, SMALL_TEXT = 10.0, 4.0


def bar_texts(place: Place, trace: Any, *, base: np.ndarray, length: np.ndarray, rows: np.ndarray) -> None:
    """Write each text in the middle of its bar, if it fits and lies within the axis limits."""
    size = (trace.textfont.size or 12) * POINTS_PER_PIXEL
    low, high = sorted(place.axes.get_xlim())
    (left, _), (right, _) = place.axes.transData.transform([(low, 0.0), (high, 0.0)])
    pixels = length * (right - left) / (high - low)
    for text, x, y, wide in zip(trace.text, base + length / 2, rows, pixels, strict=True):
        if low <= x <= high and wide > 0.62 * len(text) * size / POINTS_PER_PIXEL + 2:
            style = place.text(size) | {"color": rgba(trace.textfont.color or place.ink)}
            place.axes.text(x, y, text, ha="center", va="center", zorder=5, **style)


def scatter_texts(place: Place, trace: Any, *, x: np.ndarray, y: np.ndarray) -> None:
    """Write each text at its point: in the middle of it, or to its right."""
    across = "left" if "right" in (trace.textposition or "") else "center"
    size = (trace.textfont.size or 12) * POINTS_PER_PIXEL
    style = place.text(size) | {"color": rgba(trace.textfont.color or place.ink)}
    for text, left, up in zip(trace.text, x, y, strict=True):
        if text and not np.isnan(left):
            place.axes.text(left, up, plain(text), ha=across, va="center", zorder=6, **style)


def cell_texts(
    place: Place, texts: Any, *, bounds: tuple[np.ndarray, np.ndarray], colours: np.ndarray, given: float | None
) -> None:
    """Write each text in the middle of its cell, in one size for all cells, unless that would be too small to read."""
    place.axes.apply_aspect()
    cells = np.asarray(texts, dtype=str)
    x, y = bounds
    corners = place.axes.transData.transform(np.array([[x[0], y[0]], [x[-1], y[-1]]]))
    pixels = np.abs(corners[1] - corners[0])
    wide = np.diff(x) / abs(x[-1] - x[0]) * pixels[0] / max(map(len, cells.flat)) / 0.62
    high = np.diff(y) / abs(y[-1] - y[0]) * pixels[1]
    size = min(LARGE_TEXT, 0.7 * min(float(wide.max()), float(high.max())) * POINTS_PER_PIXEL)
    size = given * POINTS_PER_PIXEL if given else size
    if size < SMALL_TEXT:
        return
    centres = np.stack(np.meshgrid((x[:-1] + x[1:]) / 2, (y[:-1] + y[1:]) / 2), axis=-1)
    inks = np.array([text_on(to_hex(tuple(colour))) for colour in colours.reshape(-1, colours.shape[-1])])
    inks = inks.reshape(cells.shape)
    for text, ink in sorted({(text, ink) for text, ink in zip(cells.flat, inks.flat, strict=True) if text.strip()}):
        # One path drawn at many places, because thousands of text objects would take seconds.
        path = TextPath((0, 0), text, size=size, prop=FontProperties(family=place.font))
        middle = path.get_extents().get_points().mean(0)
        where = centres[(cells == text) & (inks == ink)]
        drawn = PathCollection(
            [path.transformed(Affine2D().translate(*-middle).scale(1 / POINTS_PER_PIXEL))],
            offsets=where,
            offset_transform=place.axes.transData,
            facecolors=[ink],
            linewidths=0,
            zorder=6,
        )
        drawn.set_transform(IdentityTransform())
        place.axes.add_collection(drawn, autolim=False)
