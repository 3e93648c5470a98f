"""Spans: half-open intervals of integers, and the two ways to place tiles along one axis."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from toolkit.errors import PlanError
from toolkit.geometry.checks import MOST_CELLS, MOST_PARTS, check_ints, check_kind, is_int, shown


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The integers ``start <= i < stop`` along one axis. May be empty.

    Example:
        >>> Span(8, 24), len(Span(8, 24)), Span(8, 24) * 8
        (8:24, 16, 64:192)
    """

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not (is_int(self.start) and is_int(self.stop) and 0 <= self.start <= self.stop):
            raise PlanError(f"Span {shown(self.start)}:{shown(self.stop)} must satisfy 0 <= start <= stop, in ints.")
        if self.stop > MOST_CELLS:
            raise PlanError(f"Span {self.start}:{shown(self.stop)} must end at {MOST_CELLS} or before.")

    def __len__(self) -> int:
        return self.stop - self.start

    def __repr__(self) -> str:
        return f"{self.start}:{self.stop}"

    def __mul__(self, ratio: int) -> Span:
        """The same span in units ``ratio`` times finer (latent to sample)."""
        check_ints(0, ratio=ratio)
        return Span(self.start * ratio, self.stop * ratio)

    def __and__(self, other: Span) -> Span:
        """The intersection of two spans; empty where they do not meet.

        Example:
            >>> Span(0, 32) & Span(24, 56), Span(0, 8) & Span(8, 16)
            (24:32, 8:8)
        """
        if not isinstance(other, Span):
            return NotImplemented
        start = max(self.start, other.start)
        return Span(start, max(start, min(self.stop, other.stop)))

    def __contains__(self, other: object) -> bool:
        if isinstance(other, Span):
            return self.start <= other.start and other.stop <= self.stop
        return isinstance(other, int) and self.start <= other < self.stop

    def inside(self, outer: Span) -> slice:
        """Where this span lies in a tensor that holds ``outer``.

        Example:
            >>> Span(28, 32).inside(Span(24, 56))
            slice(4, 8, None)
        """
        check_kind("outer", outer, kind=Span, remedy="the Span that the tensor holds")
        return slice(self.start - outer.start, self.stop - outer.start)


def cover_axis(extent: int, tile: int, overlap: int) -> tuple[Span, ...]:
    """Place the fewest tiles that cover ``extent``, equally large and evenly spaced.

    ``tile`` is the largest size of a tile, ``overlap`` the smallest overlap of neighbours. These two fix the number of
    tiles; the tiles are then made as small as possible, so there is no sliver at the end and no wasted row.

    Args:
        extent: Size of the axis.
        tile: Largest size of a tile.
        overlap: Smallest overlap of two neighbours.

    Raises:
        PlanError: If ``extent`` or ``tile`` is below 1, or ``overlap`` is not in ``0 <= overlap < tile``.

    Example:
        >>> cover_axis(60, tile=32, overlap=8)
        (0:26, 17:43, 34:60)
        >>> cover_axis(20, tile=32, overlap=8)
        (0:20,)
    """
    check_ints(1, extent=extent, tile=tile)
    check_ints(0, overlap=overlap)
    if overlap >= tile:
        raise PlanError(f"overlap={overlap} with tile={tile}: overlap must satisfy 0 <= overlap < tile.")
    if extent <= tile:
        return (Span(0, extent),)
    count = -(-(extent - overlap) // (tile - overlap))
    _check_number(count, f"extent={extent} in tiles of {tile} with overlap={overlap}")
    size = -(-(extent + (count - 1) * overlap) // count)
    starts = (i * (extent - size) // (count - 1) for i in range(count))
    return tuple(Span(start, start + size) for start in starts)


def strided_axis(extent: int, tile: int, stride: int) -> tuple[Span, ...]:
    """Place the tiles that ``range(0, extent, stride)`` makes, clipped at the end, slivers included.

    Raises:
        PlanError: If a size is below 1, or ``stride`` exceeds ``tile`` (rows between tiles would be lost).

    Example:
        >>> strided_axis(60, tile=32, stride=24)
        (0:32, 24:56, 48:60)
        >>> strided_axis(50, tile=32, stride=24)  # the last tile lies wholly inside its neighbour
        (0:32, 24:50, 48:50)
    """
    check_ints(1, extent=extent, tile=tile, stride=stride)
    if stride > tile:
        raise PlanError(f"stride={stride} with tile={tile}: stride must satisfy 1 <= stride <= tile.")
    _check_number(-(-extent // stride), f"extent={extent} in tiles of {tile} with stride={stride}")
    return tuple(Span(start, min(start + tile, extent)) for start in range(0, extent, stride))


def _check_number(count: int, what: str) -> None:
    """Refuse a row of more tiles than a plan can have, before it is made."""
    if count > MOST_PARTS:
        raise PlanError(f"{what}: {count} tiles, but a plan has at most {MOST_PARTS}. Use larger tiles.")


def cores(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Cut every overlap in the middle; the result covers the axis without overlap.

    Example:
        >>> cores((Span(0, 32), Span(24, 56), Span(48, 60)))
        (0:28, 28:52, 52:60)
    """
    cuts = [0, *((a.stop + b.start) // 2 for a, b in itertools.pairwise(spans)), spans[-1].stop]
    return tuple(Span(a, b) for a, b in itertools.pairwise(cuts))


def shares(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Cut every overlap at its far end: from each tile's start to the next tile's start.

    A share contains every overlap with earlier tiles and none with later ones. So it can be blended from its own tile
    and the trailing edges of the tiles before it.

    Example:
        >>> shares((Span(0, 32), Span(24, 56), Span(48, 60)))
        (0:24, 24:48, 48:60)
    """
    cuts = [*(span.start for span in spans), spans[-1].stop]
    return tuple(Span(a, b) for a, b in itertools.pairwise(cuts))
