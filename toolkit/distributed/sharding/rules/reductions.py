"""Reductions over dims, and functions along a dim: over a sharded one only what can be added up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.sharding.context import Shard
from toolkit.distributed.sharding.gather import add_up
from toolkit.distributed.sharding.rules.norms import require_settled
from toolkit.distributed.sharding.strip import Layout, lay, layout_of

_DIM_PLACE = {"normalize": 2, "norm": 2, "linalg_norm": 2, "linalg_vector_norm": 2, "vector_norm": 2}
_DIM_DEFAULT = {"normalize": 1}


def along(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Sum, mean, norm, softmax and the like; sums and means also over sharded dims, all of them at once."""
    x, name = args[0], func.__name__
    layout, dims = layout_of(x), _dims(x, name, args, kwargs)
    over = [strip for strip in layout if strip.dim in dims]
    out = func(*args, **kwargs)
    if over:
        if name not in ("mean", "sum") or len(over) < len(layout):
            raise shard.refuse(func, "it works along a sharded axis", x)
        require_settled(shard, func, x, layout)
        return _added(shard, name, x, out, layout)
    outs = (out,) if isinstance(out, Tensor) else out
    for one in outs:
        lay(one, _kept(layout, x, one, dims))
    return out


def _dims(x: Tensor, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> set[int]:
    place = _DIM_PLACE.get(name, 1)
    dim = kwargs.get("dim", args[place] if len(args) > place else _DIM_DEFAULT.get(name))
    if dim is None:
        return set(range(x.ndim))
    return {one % x.ndim for one in ([dim] if isinstance(dim, int) else dim)}


def _kept(layout: Layout, x: Tensor, out: Tensor, dims: set[int]) -> Layout:
    if out.ndim == x.ndim:
        return layout
    return tuple(strip._replace(dim=strip.dim - sum(dim < strip.dim for dim in dims)) for strip in layout)


def _added(shard: Shard, name: str, x: Tensor, out: Tensor, layout: Layout) -> Tensor:
    """The sum or mean over all ranks, in double precision: it is small."""
    cells = x.numel() // max(1, out.numel())
    part = out.double() * (cells if name == "mean" else 1)
    both = add_up(shard, torch.cat([part.reshape(-1), part.new_tensor([float(cells)])]), layout, name)
    total = both[:-1].reshape(out.shape)
    return (total / both[-1] if name == "mean" else total).to(out.dtype)
