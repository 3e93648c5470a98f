"""The picture of a grid: a strip, a plane, or one plane per tile of a third axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from toolkit.geometry.drawing.svg import HATCH, Picture, group, path, rect, svg, text
from toolkit.geometry.drawing.svg_axis import Axis, Row, margin
from toolkit.geometry.drawing.svg_panel import Panel
from toolkit.geometry.span import Span

MOST_TILES = 20
"""Most tiles drawn along an axis; half as many if there are several panels."""

MOST_PANELS = 4
"""Most tiles drawn of the slowest of three axes, one panel each."""

MOST_TITLES = 120
"""Most drawn tiles for which each shows its spans when the pointer rests on it."""

ROOM, PANEL_ROOM, STRIP = 400, 196, 40
"""In pixels: the longest side of a single panel, that of one of several panels, and the height of a strip."""

LEAST, MOST = 18, 110
"""Fewest and most pixels per tile along an axis."""

_FLAT = (Span(0, 1),)


def draw_grid(
    axes: tuple[str, ...],
    rows: tuple[Row, ...],
    *,
    owners: Sequence[int] | None = None,
    summary: str,
    noun: str = "tile",
    unit: str = "",
    most: int = MOST_TILES,
) -> Picture:
    """Draw the grid that is the product of ``rows``.

    Args:
        axes: One to three axis names, slowest first.
        rows: The spans along each axis.
        owners: The rank of each tile, to colour and number its core; by default cores show the tile's index.
        summary: The picture in one sentence.
        noun: The word for a tile.
        unit: The unit of extents and spans; empty for cells.
        most: Most tiles drawn along an axis; half as many if there are several panels.

    Example:
        >>> draw_grid(("w",), ((Span(0, 8), Span(4, 12)),), owners=(0, 1), summary="two tiles").notes
        ()
        >>> draw_grid(("w",), (tuple(Span(i, i + 1) for i in range(99)),), summary="many tiles").notes
        ('drawn: the first 20 of 99 tiles along w',)
    """
    flat = 3 - len(axes)
    names, (slow, *plane) = ("",) * flat + axes, (_FLAT,) * flat + rows
    count = min(len(slow), MOST_PANELS)
    down, across = (replace(axis, unit=unit) for axis in _lay_out(names[1:], plane, most=most, several=count > 1))
    panels = list(_place(down, across, count, noun))
    outlined = bool(down.overlaps or across.overlaps)
    titles = count * len(down.spans) * len(across.spans) <= MOST_TITLES
    parts = []
    for panel, span in zip(panels, slow, strict=False):
        parts.append(panel.draw(owners, outlined and panel is panels[0], titles))
        if count > 1:
            parts.append(text(panel.left, panel.top - 6, f"{names[0]} {span}", class_="tk-label tk-name"))
    width, height = panels[-1].left + across.length + 10, panels[-1].top + down.length + 30
    if count > 1:
        width = panels[1].left + across.length + 10
    if outlined:
        parts.append(_legend(panels[0].middle[0], margin(down), height + 14))
        width, height = max(width, margin(down) + 240), height + 20
    return Picture(
        svg(width, height, summary=summary, parts=parts), tuple(_notes((down, across), slow, name=names[0], noun=noun))
    )


def _lay_out(names: Sequence[str], rows: Sequence[Row], *, most: int, several: bool) -> tuple[Axis, Axis]:
    """The two axes of the plane, to the same scale unless that makes tiles too small."""
    most, room = (most // 2, PANEL_ROOM) if several else (most, ROOM)
    axes = [Axis.first(most, name, row=row) for name, row in zip(names, rows, strict=True)]
    scale = min(min(room, MOST * len(axis.spans)) / axis.end for axis in axes if axis.name)
    wanted = (max(round(axis.end * scale), LEAST * len(axis.spans)) if axis.name else STRIP for axis in axes)
    down, across = (replace(axis, length=min(room, length)) for axis, length in zip(axes, wanted, strict=True))
    return down, across


def _place(down: Axis, across: Axis, count: int, noun: str) -> Iterator[Panel]:
    top = 18 if count > 1 else 4
    pitch = margin(down) + across.length + 14, top + down.length + 34
    for index in range(count):
        row, column = divmod(index, 2)
        left = margin(down) + column * pitch[0]
        yield Panel(down, across, left, top + row * pitch[1], index * down.count * across.count, noun)


def _notes(axes: tuple[Axis, Axis], slow: Row, *, name: str, noun: str) -> Iterator[str]:
    cut = [(len(axis.spans), axis.count, axis.name) for axis in axes if len(axis.spans) < axis.count]
    if len(slow) > MOST_PANELS:
        cut.insert(0, (MOST_PANELS, len(slow), name))
    if cut:
        yield "drawn: the first " + ", ".join(f"{some} of {all_} {noun}s along {axis}" for some, all_, axis in cut)
    down, across = axes
    if down.name and not 0.9 < across.length * down.end / (across.end * down.length) < 1.1:
        yield f"{down.name} and {across.name} have different scales"


def _legend(tile: int, left: int, y: int) -> str:
    key = rect(left, y - 10, 16, 12)
    box = rect(left + 76, y - 10, 16, 12)
    words = [text(left + 22, y, "overlap"), text(left + 98, y, f"tile {tile}, overlaps included")]
    hatch = path(key, class_="tk-hatch", fill=HATCH)
    return group([hatch, path(box, class_="tk-box"), *words], class_="tk-label")
