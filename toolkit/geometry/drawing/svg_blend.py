"""The picture of a blend: the weights of two neighbouring tiles over their overlap."""

from __future__ import annotations

from math import pi, sin

from toolkit.geometry.drawing.palette import rank_colour
from toolkit.geometry.drawing.svg import HATCH, Picture, group, path, rect, svg, text

SIZE = 8
"""Cells of the drawn overlap."""

_STEP, _HIGH, _LEFT, _TOP, _BESIDE = 26, 120, 34, 22, 3


def rising(ramp: str, merge: str, *, size: int = SIZE) -> tuple[float, ...]:
    """The weight of the later tile at each cell of an overlap. The earlier tile has one minus this.

    The window merge samples its ramp at cell centres, the cascade of diffusers at cell starts.

    Example:
        >>> rising("linear", "window", size=4), rising("linear", "cascade", size=4), rising("crop", "window", size=4)
        ((0.125, 0.375, 0.625, 0.875), (0.0, 0.25, 0.5, 0.75), (0.0, 0.0, 1.0, 1.0))
    """
    places = ((cell + (0 if merge == "cascade" else 0.5)) / size for cell in range(size))
    if ramp == "crop":
        return tuple(float(place >= 0.5) for place in places)
    if ramp == "cosine":
        return tuple(sin(place * pi / 2) ** 2 for place in places)
    return tuple(places)


def draw_blend(ramp: str, merge: str, *, summary: str) -> Picture:
    """Draw the weights of both tiles over an overlap of eight cells, and over three more cells of each tile."""
    weights = (0.0,) * _BESIDE + rising(ramp, merge) + (1.0,) * _BESIDE
    cells = len(weights)
    start, width = _LEFT + _BESIDE * _STEP, SIZE * _STEP
    parts = [path(rect(start, _TOP, width, _HIGH), class_="tk-hatch tk-faint", fill=HATCH)]
    for number, values in enumerate((tuple(1 - weight for weight in weights), weights)):
        points = [(_LEFT + (cell + 0.5) * _STEP, _TOP + _HIGH * (1 - value)) for cell, value in enumerate(values)]
        bend = "L".join(f"{x:g} {y:.1f}" for x, y in points)
        dots = "".join(f"M{x:g} {y:.1f}h0" for x, y in points)
        curve = f"M{bend}" if ramp != "crop" else _stairs(points)
        parts += [path(curve, class_="tk-curve", stroke=rank_colour(number))]
        parts += [path(dots, class_="tk-dots", stroke=rank_colour(number))]
    right, bottom = _LEFT + cells * _STEP, _TOP + _HIGH
    parts.append(path(f"M{_LEFT} {_TOP}v{_HIGH}h{cells * _STEP}", class_="tk-axis"))
    words = [text(_LEFT - 6, y, label, text_anchor="end") for y, label in ((_TOP + 4, "1"), (bottom + 4, "0"))]
    words += [text(_LEFT + 10, _TOP - 9, "earlier tile"), text(right - 10, _TOP - 9, "later tile", text_anchor="end")]
    words += [text(start + width / 2, bottom + 15, f"an overlap of {SIZE} cells", text_anchor="middle")]
    words += [
        text(12, _TOP + _HIGH / 2 + 4, "weight", transform=f"rotate(-90 12 {_TOP + _HIGH / 2:g})", text_anchor="middle")
    ]
    for number, x in enumerate((_LEFT + 3, right - 3)):
        parts.append(path(f"M{x} {_TOP - 13}h0", class_="tk-dots", stroke=rank_colour(number)))
    parts.append(group(words, class_="tk-label"))
    return Picture(svg(right + 8, bottom + 22, summary=summary, parts=parts))


def _stairs(points: list[tuple[float, float]]) -> str:
    half = _STEP / 2
    return "M" + "L".join(f"{x - half:g} {y:g}L{x + half:g} {y:g}" for x, y in points)
