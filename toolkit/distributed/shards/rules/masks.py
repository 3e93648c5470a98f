"""Attention masks that a model makes: those that only tell frames apart are recognised, and never built.

A mask over all tokens of a video has ``(t h w) ** 2`` entries, on every rank. But a mask that lets each frame see
itself and the frames before it follows from ``t * t`` numbers. Models build such masks from pairs of frame numbers;
from there on a :class:`FrameMask` takes the place of the tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.shards.shard import Shard
from toolkit.numerics.frame_masks import FrameMask, pairs_of_frames


def meshgrid(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``meshgrid``: pairs of frame numbers, one per token, are the beginning of a mask and become frame masks."""
    tensors = args[0] if len(args) == 1 and isinstance(args[0], list | tuple) else args
    if len(tensors) == 2 and kwargs.get("indexing") == "xy":
        held = pairs_of_frames(*tensors)
        if held is not None:
            return held
    return func(*args, **kwargs)


def frames_of(shard: Shard, func: Callable[..., Any], mask: Tensor, tokens: int) -> Tensor:
    """Find out which frames each frame sees.

    Args:
        shard: This rank's shard.
        func: The attention function, for refusals.
        mask: The mask, built or not.
        tokens: Number of tokens on this rank.

    Returns:
        A ``t x t`` tensor of bool: ``[i, j]`` says whether frame ``i`` sees frame ``j``.

    Raises:
        NotExact: If the mask tells tokens of one frame apart, or samples of a batch.
    """
    if isinstance(mask, FrameMask):
        return _visible(shard, func, mask.frames)
    if mask.shape[-2:] != (tokens, tokens):
        raise shard.refuse(func, f"a mask of shape {tuple(mask.shape)} for {tokens} tokens", mask)
    one = mask.reshape(-1, tokens, tokens)[0]
    if not bool((mask == one).all()):
        raise shard.refuse(func, "its mask differs within the batch", mask)
    # A mask that a model has built after all. Rows of one frame are equal, so frames begin where a row differs from the
    # one before it.
    frames = 1 + int((one[1:] != one[:-1]).any(-1).sum())
    if tokens % frames:
        raise shard.refuse(func, "its mask does not tell frames apart", mask)
    cells = tokens // frames
    small = one[::cells, ::cells]
    if not torch.equal(small.repeat_interleave(cells, 0).repeat_interleave(cells, 1), one):
        raise shard.refuse(func, "its mask tells tokens of one frame apart", mask)
    return _visible(shard, func, small)


def _visible(shard: Shard, func: Callable[..., Any], frames: Tensor) -> Tensor:
    """A mask of bool from one that is added to the scores: 0 is visible, minus infinity is hidden."""
    if frames.dtype == torch.bool:
        return frames
    visible = frames == 0
    if not bool((visible | (frames == -torch.inf)).all()):
        raise shard.refuse(func, "its mask weighs tokens instead of hiding them", frames)
    return visible
