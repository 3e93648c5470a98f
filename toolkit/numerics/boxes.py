"""Where the latent boxes of a grid lie in tensors of samples or latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from toolkit.geometry.grid import Box
from toolkit.geometry.span import Span

DIMS = {"t": -3, "h": -2, "w": -1}
"""The tensor dim of each grid axis, counted from the end, so it is the same for ``b c h w`` and ``b c t h w``."""


@dataclass(frozen=True, slots=True)
class BoxLayout:
    """Where latent boxes lie in one kind of tensor.

    Attributes:
        axes: The grid's axis names.
        ratios: Sample cells per latent cell along each axis.
        firsts: Sample cells of the first latent cell along each axis; empty if it has as many as the others. A causal
            video model makes a single frame of the first latent frame.
    """

    axes: tuple[str, ...]
    ratios: tuple[int, ...]
    firsts: tuple[int, ...] = ()

    @property
    def dims(self) -> tuple[int, ...]:
        """The tensor dim of each axis."""
        return tuple(DIMS[axis] for axis in self.axes)

    def spans(self, box: Box) -> Box:
        """Convert a latent box to sample cells.

        Example:
            >>> BoxLayout(("t", "w"), (4, 8), firsts=(1, 8)).spans((Span(0, 3), Span(2, 4)))
            (0:9, 16:32)
        """
        firsts = self.firsts or self.ratios
        return tuple(
            Span(*((cell - 1) * ratio + first if cell else 0 for cell in (span.start, span.stop)))
            for span, ratio, first in zip(box, self.ratios, firsts, strict=True)
        )

    def cut(self, tensor: Tensor, box: Box, outer: Box | None = None) -> Tensor:
        """Return the view of ``tensor`` that holds ``box``.

        Args:
            tensor: A sample tensor that holds the box ``outer``.
            box: Latent spans, one per axis.
            outer: Latent spans of the whole tensor; None if it holds the whole extent.

        Example:
            >>> import torch
            >>> boxes = BoxLayout(("h", "w"), (2, 2))
            >>> boxes.cut(torch.arange(16.0).view(1, 1, 4, 4), (Span(1, 2), Span(0, 1)))
            tensor([[[[ 8.,  9.],
                      [12., 13.]]]])
        """
        begins = (span.start for span in self.spans(outer)) if outer is not None else (0 for _ in box)
        for dim, span, begin in zip(self.dims, self.spans(box), begins, strict=True):
            tensor = tensor.narrow(dim, span.start - begin, len(span))
        return tensor

    def shape(self, like: Sequence[int], box: Box) -> tuple[int, ...]:
        """Return the shape of a sample tensor that holds ``box`` and has the sizes ``like`` along all other dims."""
        shape = list(like)
        for dim, span in zip(self.dims, self.spans(box), strict=True):
            shape[dim] = len(span)
        return tuple(shape)

    def overlaps(self, rows: tuple[tuple[Span, ...], ...], position: tuple[int, ...]) -> tuple[int, ...]:
        """Count the sample cells that the tile at ``position`` shares with the tile before it along each axis."""
        # Only the first tile of a row holds the first cell, so the cells of an overlap all have the same ratio.
        return tuple(
            len(row[place - 1] & row[place]) * ratio if place else 0
            for row, place, ratio in zip(rows, position, self.ratios, strict=True)
        )
