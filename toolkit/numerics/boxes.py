"""From boxes of latent cells to views of sample tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from toolkit.geometry.grid import Box

DIMS = {"t": -3, "h": -2, "w": -1}
"""The tensor dim of each grid axis, counted from the end: ``b c h w`` and ``b c t h w`` alike."""


@dataclass(frozen=True, slots=True)
class Frame:
    """How a grid's latent boxes lie in sample tensors.

    Attributes:
        axes: the grid's axis names.
        ratios: sample cells per latent cell along each axis.
    """

    axes: tuple[str, ...]
    ratios: tuple[int, ...]

    @property
    def dims(self) -> tuple[int, ...]:
        """The tensor dim of each axis."""
        return tuple(DIMS[axis] for axis in self.axes)

    def cut(self, tensor: Tensor, box: Box, outer: Box | None = None) -> Tensor:
        """The view of ``tensor`` that holds ``box``.

        Args:
            tensor: a sample tensor that holds the box ``outer``; the whole extent where that is None.
            box: latent spans, one per axis.
            outer: latent spans at which ``tensor`` begins.

        Example:
            >>> import torch
            >>> from toolkit.geometry.span import Span
            >>> frame = Frame(("h", "w"), (2, 2))
            >>> frame.cut(torch.arange(16.0).view(1, 1, 4, 4), (Span(1, 2), Span(0, 1)))
            tensor([[[[ 8.,  9.],
                      [12., 13.]]]])
        """
        for place, (dim, ratio, span) in enumerate(zip(self.dims, self.ratios, box, strict=True)):
            start = outer[place].start if outer is not None else 0
            tensor = tensor.narrow(dim, (span.start - start) * ratio, len(span) * ratio)
        return tensor

    def shape(self, like: Sequence[int], box: Box) -> tuple[int, ...]:
        """The shape of a sample tensor that holds ``box`` and is like ``like`` along every other dim."""
        shape = list(like)
        for dim, ratio, span in zip(self.dims, self.ratios, box, strict=True):
            shape[dim] = len(span) * ratio
        return tuple(shape)
