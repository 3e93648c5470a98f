"""Masks that a model makes for its attention: only those that tell frames apart are known, and they are not built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.shards.shard import Shard
from toolkit.numerics.frame_masks import FrameMask, pairs_of_frames


def meshgrid(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Pairs of frame numbers, one for each token: the beginning of a mask, which is held by frames from here on."""
    tensors = args[0] if len(args) == 1 and isinstance(args[0], list | tuple) else args
    if len(tensors) == 2 and kwargs.get("indexing") == "xy":
        held = pairs_of_frames(*tensors)
        if held is not None:
            return held
    return func(*args, **kwargs)


def frames_of(shard: Shard, func: Callable[..., Any], mask: Tensor, tokens: int) -> Tensor:
    """Which frames each frame sees, ``t x t`` of bool.

    Raises:
        NotExact: where the mask distinguishes tokens of one frame, or samples of a batch.
    """
    if isinstance(mask, FrameMask):
        return _visible(shard, func, mask.frames)
    if mask.shape[-2:] != (tokens, tokens):
        raise shard.refuse(func, f"a mask of shape {tuple(mask.shape)} for {tokens} tokens", mask)
    one = mask.reshape(-1, tokens, tokens)[0]
    if not bool((mask == one).all()):
        raise shard.refuse(func, "its mask differs within the batch", mask)
    frames = 1 + int((one[1:] != one[:-1]).any(-1).sum())
    if tokens % frames:
        raise shard.refuse(func, "its mask does not tell frames apart", mask)
    cells = tokens // frames
    small = one[::cells, ::cells]
    if not torch.equal(small.repeat_interleave(cells, 0).repeat_interleave(cells, 1), one):
        raise shard.refuse(func, "its mask tells tokens of one frame apart", mask)
    return _visible(shard, func, small)


def _visible(shard: Shard, func: Callable[..., Any], frames: Tensor) -> Tensor:
    if frames.dtype == torch.bool:
        return frames
    visible = frames == 0
    if not bool((visible | (frames == -torch.inf)).all()):
        raise shard.refuse(func, "its mask weighs tokens instead of hiding them", frames)
    return visible
