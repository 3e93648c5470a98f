"""Matrix products. What happens depends on which dim holds the cells of the map.

x @ y, x is (n d)          the cells are
---------------------      ----------------------------------------------------------------------------
rows of x only             local: each rank computes its own rows of the result
columns of y only          local: each rank computes its own columns of the result
the batch of both          local
summed over (d)            each rank computes its part of the sum, and the parts are added up
rows of x, and in y        scores, or probabilities times values: y of all ranks is brought here
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.shards.gather import add_up, collect
from toolkit.distributed.shards.rules.norms import require_settled
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout, layout_of, with_layout


def linear(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``linear``, and ``cdist`` to a codebook: they work along the last dim, which must not be sharded."""
    x = args[0]
    if any(strip.dim == x.ndim - 1 for strip in layout_of(x)) or any(layout_of(other) for other in args[1:]):
        raise shard.refuse(func, "it works along a sharded axis", x)
    return with_layout(func(*args, **kwargs), layout_of(x))


def lookup(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``embedding``: each index becomes a vector, in a new last dim."""
    return with_layout(func(*args, **kwargs), layout_of(args[0]))


def matmul(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``x @ y``, in the cases of the table at the top of this file."""
    x, y = args
    rows, columns = _place(shard, func, x), _place(shard, func, y)
    ndim = max(x.ndim, y.ndim)
    if rows == -1 and columns == -2:
        # Summed over all cells, as in linear attention. The result is small, so add it up in fp32 at least.
        require_settled(shard, func, x, layout_of(x))
        wide = torch.promote_types(x.dtype, torch.float32)
        out: Tensor = add_up(shard, func(x.to(wide), y.to(wide)), layout=layout_of(x), what="sum")
        return out.to(torch.promote_types(x.dtype, y.dtype))
    if rows == -2 and columns in (-1, -2):
        # Scores of this rank's queries with all keys, or probabilities times all values. In its own memory, because the
        # model may write to y while it is sent.
        require_settled(shard, func, y, layout_of(y))
        own = y.clone(memory_format=torch.contiguous_format)
        every = torch.cat(collect(shard, own, dim=columns % y.ndim, layout=layout_of(y), what="keys"), columns)
        return with_layout(func(x, every), _from_right(layout_of(x), x, ndim=ndim))
    if rows is not None and rows < -2 and rows == columns:
        return with_layout(func(x, y), _from_right(layout_of(x), x, ndim=ndim))
    if rows == -2 and columns is None:
        return with_layout(func(x, y), _from_right(layout_of(x), x, ndim=ndim))
    if rows is None and columns == -1:
        return with_layout(func(x, y), _from_right(layout_of(y), y, ndim=ndim))
    if rows is None and columns is None:
        return func(x, y)
    raise shard.refuse(func, "it mixes sharded dims", x, y)


def baddbmm(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``baddbmm`` with ``beta=0``: a product with a factor, as attention without a fused kernel computes its scores.

    What it would add is then not looked at, but must have the shape of the result, which is another one here.
    """
    given = dict(zip(("input", "batch1", "batch2"), args, strict=False)) | kwargs
    x, y = given["batch1"], given["batch2"]
    if given.get("beta", 1) != 0:
        raise shard.refuse(func, "it adds to a product of sharded tensors", x, y)

    def product(x: Tensor, y: Tensor) -> Tensor:
        nothing = x.new_empty((len(x), x.shape[-2], y.shape[-1]))
        return func(nothing, x, y, beta=0, alpha=given.get("alpha", 1))  # type: ignore[no-any-return]

    # Refusals name the operation by this.
    product.__name__ = func.__name__
    return matmul(shard, product, (x, y), {})


def _place(shard: Shard, func: Any, x: Tensor) -> int | None:
    """The one dim that holds all strips, counted from the end; None without strips.

    Raises:
        NotExact: If h and w are in different dims.
    """
    places = {strip.dim - x.ndim for strip in layout_of(x)}
    if len(places) > 1:
        raise shard.refuse(func, "h and w are in different dims", x)
    return places.pop() if places else None


def _from_right(layout: Layout, x: Tensor, *, ndim: int) -> Layout:
    """The strips of ``x`` in a result of ``ndim`` dims, whose last dims are those of ``x``."""
    return tuple(strip._replace(dim=strip.dim - x.ndim + ndim) for strip in layout)
