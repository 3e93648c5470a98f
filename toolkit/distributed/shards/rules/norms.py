"""Normalisation: local if it looks along channels only; with merged statistics if it looks over the map.

GroupNorm over three ranks. What travels is two numbers per group, not the map:

    every rank    count, mean, M2 of its own cells   (M2: the sum of squared distances from the mean)
    all           each rank's (mean, M2) to every other rank; counts follow from the strips
    every rank    merges them in rank order, normalises its own cells
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.shards.gather import collect_alike, partners, share_of
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout, layout_of, with_layout
from toolkit.numerics.memory_format import memory_format_of
from toolkit.numerics.statistics import Moments, group_norm_with, moments_of

GROUP = ("input", "num_groups", "weight", "bias", "eps")


def group(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``group_norm``: the ranks merge their statistics, and each normalises its own cells with the result."""
    given = dict(zip(GROUP, args, strict=False)) | kwargs
    x, groups = given["input"], given["num_groups"]
    layout = layout_of(x)
    # Cells in the batch (dim 0) are samples of their own, each with its own statistics: local.
    over = tuple(strip for strip in layout if strip.dim)
    if not over:
        return with_layout(func(*args, **kwargs), layout)
    if any(strip.dim == 1 for strip in over):
        raise shard.refuse(func, "its channels are sharded", x)
    require_settled(shard, func, x, over)
    dtype, memory_format = _of_its_own_result(func, x, groups)
    x = x.contiguous(memory_format=memory_format)
    moments = merged(shard, moments_of(x, groups), over)
    out = group_norm_with(
        x, groups, moments=moments, weight=given.get("weight"), bias=given.get("bias"), eps=given.get("eps", 1e-5)
    )
    return with_layout(out.to(dtype), layout)


def merged(shard: Shard, own: Moments, layout: Layout) -> Moments:
    """Merge the moments of all ranks into those of the whole map, with the same bits on every rank."""
    parts = collect_alike(shard, own.packed(), layout=layout, what="statistics")
    counts = [int(own.count * share_of(shard, layout, rank)) for rank in partners(shard, layout)]
    return Moments.merge([Moments.unpacked(count, part) for count, part in zip(counts, parts, strict=True)])


def _of_its_own_result(func: Callable[..., Any], x: Tensor, groups: int) -> tuple[torch.dtype, torch.memory_format]:
    """The dtype and memory format that torch's normalisation of ``x`` has. To find out, normalise its first cells.

    Autocast may widen the dtype. And torch's kernel turns a map that only looks like channels-last into a contiguous
    one: attention's results are such maps. All layers after it would compute in the other format, with other kernels.
    """
    # Two cells along each dim: with one, the strides that tell the formats apart would not count.
    few: Tensor = func(x[(slice(0, 1), slice(None), *[slice(0, 2)] * (x.ndim - 2))], groups)
    return few.dtype, memory_format_of(few)


def by_channel(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``layer_norm`` and ``rms_norm`` over the last dims, which must not be sharded."""
    x = args[0]
    shape = kwargs.get("normalized_shape", args[1] if len(args) > 1 else ())
    if any(strip.dim >= x.ndim - len(shape) for strip in layout_of(x)):
        raise shard.refuse(func, "it normalises over a sharded axis", x)
    return with_layout(func(*args, **kwargs), layout_of(x))


def batch(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``batch_norm`` with its running statistics."""
    x = args[0]
    if kwargs.get("training", args[5] if len(args) > 5 else False):
        raise shard.refuse(func, "it is in training mode and takes the statistics of the map", x)
    return with_layout(func(*args, **kwargs), layout_of(x))


def require_settled(shard: Shard, func: Any, x: Tensor, layout: Layout) -> None:
    """Refuse a map that holds rows which are not this rank's own: over all ranks, they would count twice.

    Raises:
        NotExact: If the map is padded, or has a margin.
    """
    if any(strip.lo or strip.hi for strip in layout):
        raise shard.refuse(func, "the map is padded, and its padding would count twice", x)
    if any(strip.margin for strip in layout):
        raise shard.refuse(func, "it sees the whole map, which borders='recompute' has left behind", x)
