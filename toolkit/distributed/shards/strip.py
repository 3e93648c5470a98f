"""Strips: which dim of a tensor holds a rank's rows of h or columns of w.

A tensor's *layout* is the tuple of its strips, at most one an axis, kept as an attribute of the plain tensor. Shapes
stay local, so the model's own shape arithmetic holds on every rank; the extents of all ranks are kept beside, so every
rank knows every other's shapes and decides alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from torch import Tensor

from toolkit.geometry.span import Span

ATTRIBUTE = "_toolkit_strips"


class Strip(NamedTuple):
    """One dim of a tensor, as part of one axis of the whole map.

    The dim's size is ``outer * (rows + lo + hi) * inner``, as ``(o r i)`` in einops' words.

    Attributes:
        axis: ``"h"`` or ``"w"``.
        dim: which dim, from 0.
        inner: elements per row within the dim; above 1 where the axis was merged with what lies inside it.
        extents: rows of every rank along the axis.
        lo: rows of padding before the rank's own, brought in and not yet consumed by a convolution.
        hi: the same, after.
        margin: rows beyond the rank's own, computed on both sides as far as the map goes; 0 where rows are exchanged.
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
        """Rows of the whole map."""
        return sum(self.extents)

    def own(self, index: int) -> Span:
        """The rows of the rank at ``index`` along the axis.

        Example:
            >>> Strip("h", 2, 1, (6, 5)).own(1)
            6:11
        """
        start = sum(self.extents[:index])
        return Span(start, start + self.extents[index])

    def held(self, index: int) -> Span:
        """The rows that the rank holds: its own and the margin, as far as the map goes.

        Example:
            >>> Strip("h", 2, 1, (6, 5), margin=3).held(0), Strip("h", 2, 1, (6, 5), margin=3).held(1)
            (0:9, 3:11)
        """
        return _held(self.extents, self.margin, index)

    def rows(self, index: int) -> int:
        """Rows in the tensor of the rank at ``index``, padding included."""
        return len(self.held(index)) + self.lo + self.hi


@lru_cache(maxsize=4096)
def _held(extents: tuple[int, ...], margin: int, index: int) -> Span:
    start = sum(extents[:index])
    return Span(max(0, start - margin), min(sum(extents), start + extents[index] + margin))


Layout = tuple[Strip, ...]


def layout_of(value: Any) -> Layout:
    """The strips of a tensor; empty for one that is not sharded, and for anything else."""
    return getattr(value, ATTRIBUTE, ())


def with_layout(tensor: Tensor, layout: Layout) -> Tensor:
    """Note the strips of a tensor on it, and return it."""
    setattr(tensor, ATTRIBUTE, layout)
    return tensor


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among arguments, also inside lists and tuples.

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
