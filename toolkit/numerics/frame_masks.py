"""Attention masks that only tell frames apart, held by their frames: ``t x t`` numbers for ``(t h w) x (t h w)``.

Causal video autoencoders let a frame see itself and what came before. The mask that they build has as many numbers as
pairs of tokens, of which all of a pair of frames are alike: at 720p it would not fit into any memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

_CELLWISE = frozenset(["__le__", "__lt__", "__ge__", "__gt__", "le", "lt", "ge", "gt", "where", "to", "float", "type"])
_SHAPED = frozenset(["unsqueeze", "squeeze", "expand", "view", "reshape", "repeat_interleave", "contiguous", "detach"])


class FrameMask(Tensor):
    """Stands for a mask: has its shape, no storage, and the values for each pair of frames.

    It goes through the arithmetic by which models make masks; what it does not know raises.

    Example:
        >>> mask = frame_causal_mask(frames=2, cells=3)
        >>> mask.shape, mask.frames
        (torch.Size([6, 6]), tensor([[0., -inf],
                [0., 0.]]))
    """

    frames: Tensor

    @classmethod
    def of(cls, frames: Tensor, cells: int) -> Self:
        """The mask with the values ``frames`` (``t x t``) for frames of ``cells`` tokens."""
        size = len(frames) * cells
        mask = torch.empty(size, size, dtype=frames.dtype, device="meta").as_subclass(cls)
        mask.frames = frames
        return mask

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Do to the frames what is done to the mask."""
        kwargs = kwargs or {}
        out = super().__torch_function__(func, types, args, kwargs)
        if isinstance(out, FrameMask):
            name = func.__name__
            if name in _CELLWISE:
                out.frames = func(*(one.frames if isinstance(one, FrameMask) else one for one in args), **kwargs)
            elif name in _SHAPED:
                out.frames = args[0].frames
            else:
                raise NotImplementedError(f"{name} of a mask that is held by its frames")
        return out


def frame_causal_mask(
    frames: int,
    cells: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    batch_size: int | None = None,
) -> FrameMask:
    """The additive mask by which a frame sees itself and earlier ones.

    Args:
        frames: number of frames.
        cells: tokens of each.
        dtype: of the mask.
        device: where its frames' values lie.
        batch_size: samples that it is for, in a dim in front; None for no such dim.
    """
    hidden = torch.ones(frames, frames, dtype=torch.bool, device=device).triu(1)
    mask = FrameMask.of(torch.zeros(frames, frames, dtype=dtype, device=device).masked_fill(hidden, -torch.inf), cells)
    return mask if batch_size is None else mask.unsqueeze(0).expand(batch_size, -1, -1)  # type: ignore[return-value]


def pairs_of_frames(index: Tensor, other: Tensor) -> tuple[FrameMask, FrameMask] | None:
    """``meshgrid(index, other, indexing="xy")`` of frame numbers repeated for each token, held by frames.

    Returns:
        None where the numbers are not those of frames of equally many tokens.
    """
    if index.ndim != 1 or index.dtype.is_floating_point or not torch.equal(index, other):
        return None
    numbers, counts = torch.unique_consecutive(index, return_counts=True)
    cells = int(counts[0])
    if cells == 1 or not bool((counts == cells).all()):
        return None
    x, y = torch.meshgrid(numbers, numbers, indexing="xy")
    return FrameMask.of(x, cells), FrameMask.of(y, cells)
