"""Attention masks with one value per pair of frames: ``t x t`` numbers stand for a mask ``(t h w) x (t h w)``.

In causal video autoencoders, a frame attends to itself and to earlier frames. The models build a mask with one number
per pair of tokens, although all tokens of a frame have the same values. At 720p it would not fit into any memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from toolkit.numerics.tensor_compat import without_modes

_CELLWISE = frozenset(["__le__", "__lt__", "__ge__", "__gt__", "le", "lt", "ge", "gt", "where", "to", "float", "type"])
_SHAPED = frozenset(["unsqueeze", "squeeze", "expand", "view", "reshape", "repeat_interleave", "contiguous", "detach"])


class FrameMask(Tensor):
    """A stand-in for a mask: it has the mask's shape, no storage, and one value per pair of frames.

    It supports the operations that models use to build masks. Any other operation that returns such a mask raises.

    Attributes:
        frames: The values, ``t x t``.

    Example:
        >>> mask = frame_causal_mask(frames=2, cells=3)
        >>> mask.shape, mask.frames
        (torch.Size([6, 6]), tensor([[0., -inf],
                [0., 0.]]))
    """

    frames: Tensor

    @classmethod
    def of(cls, frames: Tensor, cells: int) -> Self:
        """Make the mask with the values ``frames`` (``t x t``), for frames of ``cells`` tokens each."""
        size = len(frames) * cells
        with without_modes():
            mask = torch.empty(size, size, dtype=frames.dtype, device="meta").as_subclass(cls)
        mask.frames = frames
        return mask

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Apply the operation to the mask on the meta device, for its shape, and to the values of the frames."""
        kwargs = kwargs or {}
        with without_modes():
            out = super().__torch_function__(func, types, args, kwargs)
        if isinstance(out, FrameMask):
            name = func.__name__
            if name in _CELLWISE:
                out.frames = func(*(one.frames if isinstance(one, FrameMask) else one for one in args), **kwargs)
            elif name in _SHAPED:
                out.frames = args[0].frames  # a change of shape does not change the values
            else:
                raise NotImplementedError(f"{name} is not supported for a mask with one value per pair of frames.")
        return out


def frame_causal_mask(
    frames: int,
    cells: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    batch_size: int | None = None,
) -> FrameMask:
    """The additive mask that lets a frame attend to itself and to earlier frames.

    Its signature is that of ``prepare_causal_attention_mask`` of diffusers' HunyuanVideo 1.5, which it replaces.

    Args:
        frames: Number of frames.
        cells: Number of tokens per frame.
        dtype: The dtype of the mask.
        device: The device of the values.
        batch_size: The size of an additional first dim; None for none.
    """
    hidden = torch.ones(frames, frames, dtype=torch.bool, device=device).triu(1)
    mask = FrameMask.of(torch.zeros(frames, frames, dtype=dtype, device=device).masked_fill(hidden, -torch.inf), cells)
    return mask if batch_size is None else mask.unsqueeze(0).expand(batch_size, -1, -1)  # type: ignore[return-value]


def pairs_of_frames(index: Tensor, other: Tensor) -> tuple[FrameMask, FrameMask] | None:
    """``meshgrid(index, other, indexing="xy")`` for the frame number of each token, with one value per pair of frames.

    Returns:
        The two grids; None if the inputs are not frame numbers of frames with equally many tokens.
    """
    if index.ndim != 1 or index.dtype.is_floating_point or not torch.equal(index, other):
        return None
    numbers, counts = torch.unique_consecutive(index, return_counts=True)
    cells = int(counts[0])
    if cells == 1 or not bool((counts == cells).all()):
        return None
    x, y = torch.meshgrid(numbers, numbers, indexing="xy")
    return FrameMask.of(x, cells), FrameMask.of(y, cells)
