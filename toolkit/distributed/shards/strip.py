"""Strips: which dim of a tensor holds this rank's rows of h, or columns of w.

One map, ten rows high, on two ranks:

    whole map     row 0 1 2 3 4 5 6 7 8 9
    rank 0            . . . . . .             a tensor of 6 rows; Strip("h", dim=2, inner=1, extents=(6, 4))
    rank 1                        . . . .     a tensor of 4 rows; the same strip

A tensor's *layout* is the tuple of its strips, at most one per axis, kept as an attribute of the plain tensor. The
tensor's own shape stays local, so a model's shape arithmetic is right on every rank. The strip has the extents of all
ranks, so every rank knows every other rank's shapes, and all decide alike without asking each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from torch import Tensor

from toolkit.geometry.span import Span

ATTRIBUTE = "_toolkit_strips"


class Strip(NamedTuple):
    """One dim of a tensor, as this rank's part of one axis of the whole map.

    The dim has ``outer * (lo + rows + hi) * inner`` elements, ``(o r i)`` in einops' words. Outer and inner are above 1
    where a reshape has merged the axis with its neighbours. Say h is merged with t before it and w behind it, with 2
    frames, 3 rows, and 4 columns::

        the dim:     | row 0  | row 1  | row 2  | row 0  | row 1  | row 2  |      24 elements
                     | wwww   | wwww   | wwww   | wwww   | wwww   | wwww   |      inner = 4 elements per row
                     |<------- frame 0 ------->|<------- frame 1 ------->|        outer = 2, which follows from the size

    Between a padding and the convolution that consumes it, the tensor has more rows than the rank's own::

        lo=1, hi=1:  | a | 3 | 4 | 5 | b |     own rows 3 to 5, with a row of the neighbours (or of zeros) around them

    With ``borders="recompute"`` ranks compute rows beyond their own instead of exchanging them. ``margin`` counts how
    many of them are left; every padded convolution consumes some.

    Attributes:
        axis: ``"h"`` or ``"w"``.
        dim: The dim, from 0.
        inner: Elements per row within the dim.
        extents: Number of own rows of every rank along the axis.
        lo: Rows of padding before the rank's own that no convolution has consumed yet.
        hi: Rows of padding after them.
        margin: Rows that are computed beyond the rank's own on both sides, as far as the map goes.
    """

    axis: str
    dim: int
    inner: int
    extents: tuple[int, ...]
    lo: int = 0
    hi: int = 0
    margin: int = 0

    @property
    def total(self) -> int:
        """Number of rows of the whole map."""
        return sum(self.extents)

    def own(self, index: int) -> Span:
        """The own rows of the rank at ``index`` along the axis.

        Example:
            >>> Strip("h", 2, 1, (6, 5)).own(1)
            6:11
        """
        start = sum(self.extents[:index])
        return Span(start, start + self.extents[index])

    def held(self, index: int) -> Span:
        """The rows that the rank at ``index`` holds: its own and the margin, as far as the map goes.

        Example:
            >>> Strip("h", 2, 1, (6, 5), margin=3).held(0), Strip("h", 2, 1, (6, 5), margin=3).held(1)
            (0:9, 3:11)
        """
        return _held(self.extents, self.margin, index=index)

    def rows(self, index: int) -> int:
        """Number of rows in the tensor of the rank at ``index``, margin and padding included."""
        return len(self.held(index)) + self.lo + self.hi


# Asked for at every operation, with few different answers in a whole run.
@lru_cache(maxsize=4096)
def _held(extents: tuple[int, ...], margin: int, *, index: int) -> Span:
    start = sum(extents[:index])
    return Span(max(0, start - margin), min(sum(extents), start + extents[index] + margin))


Layout = tuple[Strip, ...]


def layout_of(value: Any) -> Layout:
    """The strips of a tensor; empty for a tensor that is not sharded, and for any other value."""
    return getattr(value, ATTRIBUTE, ())


def with_layout(tensor: Tensor, layout: Layout) -> Tensor:
    """Attach strips to a tensor, and return it."""
    setattr(tensor, ATTRIBUTE, layout)
    return tensor


def replaced(layout: Layout, strip: Strip) -> Layout:
    """The layout with ``strip`` in place of the strip of the same axis.

    Example:
        >>> h, w = Strip("h", 2, 1, (4, 4)), Strip("w", 3, 1, (6,))
        >>> replaced((h, w), h._replace(lo=1))[0].lo
        1
    """
    return tuple(strip if other.axis == strip.axis else other for other in layout)


def part_of(whole: Tensor, layout: Layout, position: Mapping[str, int]) -> Tensor:
    """The view of a whole map that one rank holds.

    Args:
        whole: The whole map.
        layout: The strips that a part of it has.
        position: The rank's place along each axis.
    """
    for strip in layout:
        held = strip.held(position[strip.axis])
        whole = whole.narrow(strip.dim, held.start, len(held))
    return whole


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among arguments, also those inside lists and tuples.

    Example:
        >>> import torch
        >>> len(list(tensors_in([1, torch.ones(1), [torch.ones(2), "a"]])))
        2
    """
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)


def shifted(layout: Layout, by: int) -> Layout:
    """The same strips in a tensor with ``by`` more dims in front."""
    return layout if by == 0 else tuple(strip._replace(dim=strip.dim + by) for strip in layout)
