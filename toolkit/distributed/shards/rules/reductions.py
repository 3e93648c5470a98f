"""Reductions over dims, and functions along a dim. Over a sharded dim, only what can be added up over ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.shards.gather import add_up
from toolkit.distributed.shards.rules.norms import require_settled
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout, layout_of, with_layout
from toolkit.numerics.vecdot_normalize import normalize

# Where ``dim`` is among the positional arguments, if it is not the second, and its default, if that is not all dims.
_DIM_PLACE = {"normalize": 2, "norm": 2, "linalg_norm": 2, "linalg_vector_norm": 2, "vector_norm": 2}
_DIM_DEFAULT = {"normalize": 1}


def along(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``sum``, ``mean``, ``norm``, ``softmax`` and the like. Sums and means may go over all sharded dims at once."""
    x = args[0]
    layout = layout_of(x)
    key: tuple[Any, ...] = ("along", func, x.ndim, layout, args[1:])
    if kwargs:
        key += (*kwargs, *kwargs.values())
    after = shard.recall(key)
    if after is None:
        dims = _dims(x, func.__name__, args=args, kwargs=kwargs)
        if any(strip.dim in dims for strip in layout):
            return _across(shard, func, args, kwargs, dims=dims)
    out = func(*args, **kwargs)
    # max and others return values and indices, which have the same layout.
    outs = (out,) if isinstance(out, Tensor) else out
    if after is None:
        after = _kept(layout, x, out=outs[0], dims=dims)
        shard.keep(key, after)
    for one in outs:
        with_layout(one, after)
    return out


def normalize_by_vecdot(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``normalize`` with faster sums of squares. It changes last bits, so a call must ask for it by name."""
    return along(shard, normalize, args, kwargs)


def _across(
    shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, dims: set[int]
) -> Any:
    """A sum or mean over every dim that is sharded.

    Raises:
        NotExact: If it is something else, or leaves one sharded dim.
    """
    x, name = args[0], func.__name__
    layout = layout_of(x)
    if name not in ("mean", "sum") or any(strip.dim not in dims for strip in layout):
        raise shard.refuse(func, "it works along a sharded axis", x)
    require_settled(shard, func, x, layout)
    return _added(shard, name, x, out=func(*args, **kwargs), layout=layout)


def _dims(x: Tensor, name: str, *, args: tuple[Any, ...], kwargs: dict[str, Any]) -> set[int]:
    """The dims that a reduction goes over, from 0."""
    place = _DIM_PLACE.get(name, 1)
    dim = kwargs.get("dim", args[place] if len(args) > place else _DIM_DEFAULT.get(name))
    # An empty tuple of dims means all, too.
    if dim is None or dim in ((), []):
        return set(range(x.ndim))
    return {one % x.ndim for one in ([dim] if isinstance(dim, int) else dim)}


def _kept(layout: Layout, x: Tensor, *, out: Tensor, dims: set[int]) -> Layout:
    """The layout after dims were reduced; with ``keepdim``, or along a dim, no dim is gone."""
    if out.ndim == x.ndim:
        return layout
    return tuple(strip._replace(dim=strip.dim - sum(dim < strip.dim for dim in dims)) for strip in layout)


def _added(shard: Shard, name: str, x: Tensor, *, out: Tensor, layout: Layout) -> Tensor:
    """Add up the sums (or means, weighted by their cells) of all ranks.

    In double precision: the result is small, so it costs nothing.
    """
    cells = x.numel() // max(1, out.numel())
    part = out.double() * (cells if name == "mean" else 1)
    both = add_up(shard, torch.cat([part.reshape(-1), part.new_tensor([float(cells)])]), layout=layout, what=name)
    total = both[:-1].reshape(out.shape)
    return (total / both[-1] if name == "mean" else total).to(out.dtype)
