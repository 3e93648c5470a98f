"""The pictures of a microscope: a few enlarged cells of a frame, and the seams that pass through them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from toolkit.geometry.checks import check_counts
from toolkit.geometry.drawing.palette import DIVERGING, SEQUENTIAL
from toolkit.geometry.span import Span
from toolkit.plot.scales import sampled
from toolkit.widgets.microscope_seams import Seams

SIDE = 264
"""Largest side of a picture, in screen pixels."""

Pixels = npt.NDArray[np.uint8]
INKS = (np.uint8(0), np.uint8(255))
"""Black and white in turns, so that one of them shows on any picture."""


@dataclass(frozen=True, slots=True)
class Region:
    """The visible cells.

    Attributes:
        h: Their rows.
        w: Their columns.
        zoom: Side of each cell, in screen pixels.
    """

    h: Span
    w: Span
    zoom: int

    def __post_init__(self) -> None:
        check_counts(zoom=self.zoom)

    @classmethod
    def around(cls, centre: tuple[int, int], zoom: int, *, shape: tuple[int, int]) -> Self:
        """As many cells as fit, with the centre in the middle unless the frame's border is near.

        Example:
            >>> Region.around((50, 2), 24, shape=(100, 100))
            Region(h=45:56, w=0:11, zoom=24)
        """
        room = SIDE // zoom
        room -= 1 - room % 2  # only an odd number of cells has one in the middle
        spans = []
        for place, size in zip(centre, shape, strict=True):
            start = min(max(place - room // 2, 0), max(size - room, 0))
            spans.append(Span(start, min(start + room, size)))
        return cls(spans[0], spans[1], zoom)

    def cut(self, frame: Tensor) -> npt.NDArray[np.float64]:
        """The visible part of a frame ``c h w``."""
        part: Tensor = frame[:, self.h.start : self.h.stop, self.w.start : self.w.stop].detach()
        cells: npt.NDArray[np.float64] = part.to("cpu").double().numpy()
        return cells


def colours(cells: npt.NDArray[np.float64]) -> Pixels:
    """Samples in -1..1 as colours; grey unless there are three channels."""
    shown = cells if len(cells) == 3 else cells.mean(axis=0, keepdims=True).repeat(3, axis=0)
    scaled = (np.nan_to_num(shown, nan=-1.0).clip(-1, 1) + 1) * 127.5
    return np.rint(scaled).astype(np.uint8).transpose(1, 2, 0)


def error_colours(cells: npt.NDArray[np.float64], amplification: float, *, signed: bool) -> Pixels:
    """Errors as colours, largest over channels; errors from ``1 / amplification`` up get the last colour of the scale.

    NaN counts as the largest possible error.
    """
    cells = np.nan_to_num(cells, nan=np.inf, posinf=np.inf, neginf=-np.inf)
    largest = np.take_along_axis(cells, np.abs(cells).argmax(axis=0)[None], axis=0)[0]
    size = (largest * amplification).clip(-1, 1) if signed else np.minimum(np.abs(largest) * amplification, 1)
    return _palette(signed)[np.rint((size + 1) * 127.5 if signed else size * 255).astype(np.uint8)]


def png(cells: Pixels, region: Region, *, seams: Seams, centre: tuple[int, int]) -> str:
    """The cells enlarged to squares, with seams and a box around the centre, as a PNG in base 64."""
    canvas = cells.repeat(region.zoom, axis=0).repeat(region.zoom, axis=1)
    for axis, across in (("h", canvas), ("w", canvas.transpose(1, 0, 2))):
        span: Span = getattr(region, axis)
        for places, dash, gap in ((seams.edges, 1, 4), (seams.lines, 5, 0)):
            for place in _inside(places.get(axis, ()), span):
                _dashes(across[(place - span.start) * region.zoom], dash, gap=gap)
    _box(canvas, region, centre=centre)
    buffer = BytesIO()
    Image.fromarray(canvas).save(buffer, "PNG", compress_level=1)
    return b64encode(buffer.getvalue()).decode()


def _inside(places: Iterable[int], span: Span) -> Iterable[int]:
    return (place for place in places if span.start < place < span.stop)


def _dashes(line: npt.NDArray[Any], dash: int, *, gap: int) -> None:
    """Draw black and white dashes in turns along a row of pixels, with gaps through which the picture shows."""
    at = np.arange(len(line))
    period = dash + gap
    for turn, ink in enumerate(INKS):
        line[((at // period) % 2 == turn) & (at % period < dash)] = ink


def _box(canvas: Pixels, region: Region, *, centre: tuple[int, int]) -> None:
    """Draw a white outline around the cell at the centre, and a black one around that; the cell stays uncovered."""
    starts = [(c - span.start) * region.zoom for c, span in zip(centre, (region.h, region.w), strict=True)]
    for away, ink in zip((1, 2), reversed(INKS), strict=True):
        (y0, y1), (x0, x1) = ((start - away, start + region.zoom - 1 + away) for start in starts)
        rows, columns = slice(max(y0, 0), y1 + 1), slice(max(x0, 0), x1 + 1)
        for y in (y0, y1):
            if 0 <= y < canvas.shape[0]:
                canvas[y, columns] = ink
        for x in (x0, x1):
            if 0 <= x < canvas.shape[1]:
                canvas[rows, x] = ink


@cache
def _palette(signed: bool) -> Pixels:
    scale = DIVERGING if signed else SEQUENTIAL
    return np.array(sampled(scale, np.linspace(0, 1, 256).tolist()), np.uint8)
