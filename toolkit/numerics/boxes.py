"""From boxes of latent cells to views of sample tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from toolkit.geometry.grid import Box
from toolkit.geometry.span import Span

DIMS = {"t": -3, "h": -2, "w": -1}
"""The tensor dim of each grid axis, counted from the end: ``b c h w`` and ``b c t h w`` alike."""


@dataclass(frozen=True, slots=True)
class Frame:
    """How a grid's latent boxes lie in sample tensors.

    Attributes:
        axes: the grid's axis names.
        ratios: sample cells per latent cell along each axis.
        firsts: sample cells of the first latent cell along each axis; empty where as many as of any other. A causal
            video model's first latent frame is one frame.
    """

    axes: tuple[str, ...]
    ratios: tuple[int, ...]
    firsts: tuple[int, ...] = ()

    @property
    def dims(self) -> tuple[int, ...]:
        """The tensor dim of each axis."""
        return tuple(DIMS[axis] for axis in self.axes)

    def spans(self, box: Box) -> Box:
        """A latent box in sample cells.

        Example:
            >>> Frame(("t", "w"), (4, 8), firsts=(1, 8)).spans((Span(0, 3), Span(2, 4)))
            (0:9, 16:32)
        """
        firsts = self.firsts or self.ratios
        return tuple(
            Span(*((cell - 1) * ratio + first if cell else 0 for cell in (span.start, span.stop)))
            for span, ratio, first in zip(box, self.ratios, firsts, strict=True)
        )

    def cut(self, tensor: Tensor, box: Box, outer: Box | None = None) -> Tensor:
        """The view of ``tensor`` that holds ``box``.

        Args:
            tensor: a sample tensor that holds the box ``outer``; the whole extent where that is None.
            box: latent spans, one per axis.
            outer: latent spans at which ``tensor`` begins.

        Example:
            >>> import torch
            >>> frame = Frame(("h", "w"), (2, 2))
            >>> frame.cut(torch.arange(16.0).view(1, 1, 4, 4), (Span(1, 2), Span(0, 1)))
            tensor([[[[ 8.,  9.],
                      [12., 13.]]]])
        """
        begins = (span.start for span in self.spans(outer)) if outer is not None else (0 for _ in box)
        for dim, span, begin in zip(self.dims, self.spans(box), begins, strict=True):
            tensor = tensor.narrow(dim, span.start - begin, len(span))
        return tensor

    def shape(self, like: Sequence[int], box: Box) -> tuple[int, ...]:
        """The shape of a sample tensor that holds ``box`` and is like ``like`` along every other dim."""
        shape = list(like)
        for dim, span in zip(self.dims, self.spans(box), strict=True):
            shape[dim] = len(span)
        return tuple(shape)

    def overlaps(self, rows: tuple[tuple[Span, ...], ...], position: tuple[int, ...]) -> tuple[int, ...]:
        """Sample cells that the tile at ``position`` shares with the tile before it along each axis."""
        # Only a row's first tile holds the first cell, so an overlap has whole cells only.
        return tuple(
            len(row[place - 1] & row[place]) * ratio if place else 0
            for row, place, ratio in zip(rows, position, self.ratios, strict=True)
        )
