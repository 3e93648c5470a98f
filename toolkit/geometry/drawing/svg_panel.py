"""One panel of a grid's picture: numbered cores, hatched overlaps, and the outline of one whole tile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median_low

from toolkit.geometry.drawing.palette import rank_colour, text_on
from toolkit.geometry.drawing.svg import HATCH, group, path, rect, text
from toolkit.geometry.drawing.svg_axis import Axis, labels_below, labels_beside
from toolkit.geometry.span import Span

SMALLEST = 5
"""Smallest font size in pixels. A number that needs a smaller one is left out."""


@dataclass(frozen=True, slots=True)
class Panel:
    """The tiles at one place along the slowest axis.

    Attributes:
        down: The vertical axis.
        across: The horizontal axis.
        left: Pixels to the left of the panel.
        top: Pixels above the panel.
        first: Index of its first tile.
        noun: The word for a tile.
    """

    down: Axis
    across: Axis
    left: int
    top: int
    first: int
    noun: str = "tile"

    def draw(self, owners: Sequence[int] | None, outlined: bool, titles: bool) -> str:
        """Draw the panel. Cores are coloured and numbered by rank or, without ``owners``, numbered by tile.

        Args:
            owners: The rank of each tile.
            outlined: Whether to outline one tile with its overlaps.
            titles: Whether each tile shows its spans when the pointer rests on it.
        """
        tiles, numbers = defaultdict(list), defaultdict(list)
        widest = self._digits(owners)
        places = list(self._places())
        usual = median_low(_font_size(width, height, digits=widest) for *_, (_, _, width, height) in places)
        for index, i, j, core in places:
            number = index if owners is None else owners[index]
            colour = "" if owners is None else rank_colour(number)
            x, y, width, height = core
            tiles[colour].append(path(rect(*core), self._title(index, i, j)) if titles else rect(*core))
            size = min(usual, _font_size(width, height, digits=len(str(number))))
            if size >= SMALLEST:
                label = text(x + width / 2, round(y + height / 2 + size * 0.35, 1), number)
                numbers[colour, size].append(label)
        lines = [*self._cuts(), *self._hatched(), *(self._outline() if outlined else ())]
        merge = group if titles else _one_path
        parts = [merge(found, **_fill(colour)) for colour, found in tiles.items()]
        parts += [group(lines, class_="tk-over")]
        parts += [group(labels, font_size=size, **_ink(colour)) for (colour, size), labels in numbers.items()]
        parts += [labels_below(self.across, self.left, self.top + self.down.length)]
        parts += [labels_beside(self.down, self.left, self.top)]
        return "".join(parts)

    @property
    def middle(self) -> tuple[int, int, int]:
        """Index, row and column of the outlined tile."""
        i, j = len(self.down.spans) // 2, len(self.across.spans) // 2
        return self.first + i * self.across.count + j, i, j

    def _places(self) -> Iterator[tuple[int, int, int, tuple[int, int, int, int]]]:
        """The index, row and column of each tile, and its core in pixels: left, top, width and height."""
        rows, columns = ([axis.pixels(core) for core in axis.cores] for axis in (self.down, self.across))
        for (i, (y, height)), (j, (x, width)) in product(enumerate(rows), enumerate(columns)):
            yield self.first + i * self.across.count + j, i, j, (self.left + x, self.top + y, width, height)

    def _pixels(self, down: Span, across: Span) -> tuple[int, int, int, int]:
        (y, height), (x, width) = self.down.pixels(down), self.across.pixels(across)
        return self.left + x, self.top + y, width, height

    def _digits(self, owners: Sequence[int] | None) -> int:
        """Digits of the longest number in the panel."""
        indices = (index for index, *_ in self._places())
        return max(len(str(index if owners is None else owners[index])) for index in indices)

    def _title(self, index: int, i: int, j: int) -> str:
        places = ((self.down, i), (self.across, j))
        spans = (f"{axis.name} {axis.spans[place]}{axis.unit}" for axis, place in places if axis.name)
        return f"{self.noun} {index}: {', '.join(spans)}"

    def _cuts(self) -> Iterator[str]:
        """The lines between cores, and dashed lines where the drawing ends before the grid does."""
        rows = [f"M{self.left} {self.top + y}h{self.across.length}" for y in [*self.down.cuts(), self.down.length]]
        columns = [f"M{self.left + x} {self.top}v{self.down.length}" for x in [*self.across.cuts(), self.across.length]]
        torn = [ends[-1] for ends, axis in ((rows, self.down), (columns, self.across)) if axis.end < axis.extent]
        for lines, name in ((rows[:-1] + columns[:-1], "tk-cut"), (torn, "tk-torn")):
            if lines:
                yield path("".join(lines), class_=name)

    def _hatched(self) -> Iterator[str]:
        down, across = Span(0, self.down.end), Span(0, self.across.end)
        bands = [(band, across) for band in self.down.overlaps] + [(down, band) for band in self.across.overlaps]
        if bands:
            yield path("".join(rect(*self._pixels(*band)) for band in bands), class_="tk-hatch", fill=HATCH)

    def _outline(self) -> Iterator[str]:
        _, i, j = self.middle
        box = rect(*self._pixels(self.down.spans[i], self.across.spans[j]))
        yield path(box, class_="tk-halo")
        yield path(box, class_="tk-box")


def _one_path(data: Iterable[str], **attributes: str) -> str:
    return path("".join(data), **attributes)


def _font_size(width: int, height: int, *, digits: int) -> int:
    """The largest font size, up to 13, at which a number fits."""
    return min(13, height * 3 // 4, int(width / (0.68 * digits + 0.4)))


def _fill(colour: str) -> dict[str, str]:
    return {"fill": colour} if colour else {"class_": "tk-tile"}


def _ink(colour: str) -> dict[str, str]:
    if not colour:
        return {"class_": "tk-number tk-index"}
    return {"class_": "tk-number", "fill": text_on(colour), "stroke": colour}
