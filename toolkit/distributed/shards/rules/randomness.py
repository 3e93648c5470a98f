"""Random numbers that a model draws: every rank draws those of the whole map from one seed, and keeps its own part.

So the numbers do not depend on the number of ranks. A model draws in the shape that it sees, which is the local one;
the layout of a map of that shape, recorded before, says what the whole shape is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout, layout_of, part_of, with_layout


def draw(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``randn`` and ``rand``, in a shape whose last two dims are those of a map that was computed before."""
    size = kwargs.get("size", args[0] if args and not isinstance(args[0], int) else args)
    _require_seed(shard, func)
    shape = tuple(size)
    known = shard.maps.get(torch.Size(shape[-2:]))
    if known is None:
        raise shard.refuse(func, f"shape {shape} is that of no map that it has computed")
    ndim, strips = known
    layout = tuple(strip._replace(dim=strip.dim - ndim + len(shape)) for strip in strips)
    options = {name: value for name, value in kwargs.items() if name != "size"}
    return _part(shard, func, shape, layout, options=options)


def draw_like(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``randn_like`` and ``rand_like``: sharded like the tensor that they are given."""
    x = args[0]
    _require_seed(shard, func, x)
    options = {"dtype": x.dtype, "device": x.device} | {k: v for k, v in kwargs.items() if v is not None}
    options.pop("memory_format", None)
    whole = {"randn_like": torch.randn, "rand_like": torch.rand}[func.__name__]
    return _part(shard, whole, tuple(x.shape), layout_of(x), options=options)


def dropout(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``dropout``, if it is off."""
    training = kwargs.get("training", args[2] if len(args) > 2 else True)
    probability = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
    if training and probability:
        raise shard.refuse(func, "it is in training mode", args[0])
    return with_layout(func(*args, **kwargs), layout_of(args[0]))


def _require_seed(shard: Shard, func: Callable[..., Any], *like: torch.Tensor) -> None:
    """Refuse to draw without a common seed: ranks would draw from different states, and the parts would not fit."""
    if not shard.seeded:
        why = "it draws random numbers, which must be the same for any number of ranks: give seed="
        raise shard.refuse(func, why, *like)


def _part(
    shard: Shard, func: Callable[..., Any], shape: tuple[int, ...], layout: Layout, *, options: dict[str, Any]
) -> torch.Tensor:
    """Draw the numbers of the whole map, and keep this rank's part."""
    whole = list(shape)
    for strip in layout:
        whole[strip.dim] = strip.total
    canvas = part_of(func(whole, **options), layout, shard.index)
    return with_layout(canvas.contiguous(), layout)
