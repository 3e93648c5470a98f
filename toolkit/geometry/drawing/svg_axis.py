"""One axis of a grid's picture: the tiles that are drawn, their positions in pixels, and the labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from toolkit.geometry.drawing.svg import group, text
from toolkit.geometry.span import Span, cores

Row = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """The drawn tiles of one axis, in cells, and the length of the axis in pixels.

    Attributes:
        name: Name of the axis; empty for the flat axis of a strip, which has no labels.
        spans: The drawn tiles.
        cores: Their cores.
        overlaps: Their overlaps with each other and with the first tile that is not drawn.
        count: Number of all tiles.
        extent: Number of all cells.
        length: Length in pixels.
        unit: The unit of the extent; empty for cells.
    """

    name: str
    spans: Row
    cores: Row
    overlaps: Row
    count: int
    extent: int
    length: int = 1
    unit: str = ""

    @classmethod
    def first(cls, most: int, name: str, *, row: Row) -> Axis:
        """The first ``most`` tiles of ``row``, or fewer.

        Example:
            >>> axis = Axis.first(2, "w", row=(Span(0, 6), Span(4, 10), Span(8, 14)))
            >>> axis.cores, axis.overlaps, axis.end, axis.extent
            ((0:5, 5:9), (4:6, 8:10), 9, 14)
        """
        near = row[: most + 1]
        own = cores(near)[:most]
        both = (a & b for a, b in pairwise(near))
        overlaps = tuple(span for span in both if len(span) and span.start < own[-1].stop)
        return cls(name, near[:most], own, overlaps, len(row), row[-1].stop)

    @property
    def end(self) -> int:
        """The cell at which the drawing ends."""
        return self.cores[-1].stop

    def pixels(self, span: Span) -> tuple[int, int]:
        """The start and length of a span: at least one pixel long unless the span is empty."""
        start, stop = (round(min(cell, self.end) * self.length / self.end) for cell in (span.start, span.stop))
        return start, max(stop - start, min(len(span), 1))

    def cuts(self) -> list[int]:
        """The pixels at which one core ends and the next starts."""
        return [self.pixels(core)[0] for core in self.cores[1:]]

    def labelled(self, room: Callable[[int], int]) -> Iterator[tuple[int, int]]:
        """The labels as pixel and cell: the end, and each tile start with ``room(cell)`` free pixels around it."""
        yield self.length, self.end
        free, last = -room(0), self.length - room(self.end) // 2
        for span in self.spans:
            place, half = self.pixels(span)[0], room(span.start) // 2
            if free <= place - half and place + half <= last:
                yield place, span.start
                free = place + half


def labels_below(axis: Axis, left: int, bottom: int) -> str:
    """The tile starts and the name of a horizontal axis, in the 30 pixels below ``bottom``."""
    cells = axis.labelled(lambda cell: 6 * len(str(cell)) + 8)
    ticks = [text(left + place, bottom + 13, cell) for place, cell in cells]
    name = text(left + axis.length / 2, bottom + 26, f"{axis.name} {axis.extent}{axis.unit}", class_="tk-name")
    return group([*ticks, name], class_="tk-label", text_anchor="middle") if axis.name else ""


def labels_beside(axis: Axis, left: int, top: int) -> str:
    """The tile starts and the name of a vertical axis, to the left of ``left``."""
    ticks = [text(left - 5, top + place + 4, cell) for place, cell in axis.labelled(lambda _: 13)]
    x, y = left - margin(axis) + 11, top + axis.length / 2
    turned = text(0, 0, f"{axis.name} {axis.extent}{axis.unit}", class_="tk-name", text_anchor="middle")
    name = group([turned], transform=f"translate({x:g} {y:g})rotate(-90)")
    return group([*ticks, name], class_="tk-label", text_anchor="end") if axis.name else ""


def margin(axis: Axis) -> int:
    """Width of the labels of a vertical axis, in pixels.

    Example:
        >>> margin(Axis.first(9, "h", row=(Span(0, 128),)))
        42
    """
    return 24 + 6 * len(str(axis.end)) if axis.name else 8
