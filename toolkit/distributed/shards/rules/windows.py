"""Operations with a window: pooling, transposed convolutions, and what any window does to strips."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from toolkit.distributed.shards.rules.views import scaled
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout, Strip, layout_of, with_layout

TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
POOL = ("input", "kernel_size", "stride", "padding")


def transposed(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``conv_transpose1d`` to ``3d``, if windows do not overlap: each cell becomes a patch of its own."""
    given = dict(zip(TRANSPOSED, args, strict=False)) | kwargs
    x, weight = given["input"], given["weight"]
    n = weight.ndim - 2
    stride, padding = per_dim(given.get("stride", 1), n), per_dim(given.get("padding", 0), n)
    strips = []
    for strip in layout_of(x):
        place = strip.dim - (x.ndim - n)
        alone(shard, func, x, unpadded(shard, func, x, strip))
        # With a stride below the width of the window, patches overlap and the output rows at a border are sums over
        # two ranks.
        if place < 0 or weight.shape[2 + place] != stride[place] or padding[place]:
            raise shard.refuse(func, "its windows overlap", x)
        strips.append(scaled(strip, stride[place]))
    return checked(shard, func, func(*args, **kwargs), strips)


def pool(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``avg_pool`` and ``max_pool`` without padding."""
    given = dict(zip(POOL, args, strict=False)) | kwargs
    # The number of dims is in the name: max_pool2d.
    x, n = given["input"], int(func.__name__[-2])
    size = per_dim(given["kernel_size"], n)
    stride = per_dim(given.get("stride") or size, n)
    padding = per_dim(given.get("padding", 0), n)
    strips = []
    for strip in layout_of(x):
        place = strip.dim - (x.ndim - n)
        if place < 0 or size[place] == stride[place] == 1:
            strips.append(strip)
            continue
        if padding[place]:
            raise shard.refuse(func, "it pads as it pools", x)
        alone(shard, func, x, strip)
        strips.append(after_window(shard, func, x, strip, reach=size[place], stride=stride[place]))
    return checked(shard, func, func(*args, **kwargs), strips)


def after_window(shard: Shard, func: Callable[..., Any], x: Tensor, strip: Strip, *, reach: int, stride: int) -> Strip:
    """The strip after a window of ``reach`` rows has gone over it in steps of ``stride``.

    Every rank's first window must begin where a window of the whole map does, and no window may be lost between two
    ranks. With a stride of 2 and a window of 3, after a padding of one row at the end (``hi=1``), on ranks of 4 rows:

        whole map      0 1 2 3 4 5 6 7 +       windows at 0, 2, 4, 6
        rank 0         0 1 2 3 4               windows at 0, 2
        rank 1                 4 5 6 7 +       windows at 4, 6; had rank 0 five rows, they would begin at 5

    Raises:
        NotExact: If that does not hold for the extents of the ranks.
    """
    whole = (strip.total + strip.lo + strip.hi - reach) // stride + 1
    # All ranks but the last must end where a window begins; the last one takes what is left.
    inner = strip.extents[:-1]
    if any(extent % stride for extent in inner):
        raise shard.refuse(func, f"shards of {strip.axis} do not begin at multiples of its stride {stride}", x)
    extents = [extent // stride for extent in inner]
    extents.append(whole - sum(extents))
    for extent, after in zip(inner, extents, strict=False):
        if (extent + strip.lo + strip.hi - reach) // stride + 1 != after:
            raise shard.refuse(func, f"a window of {reach} rows with {strip.lo} before and {strip.hi} after", x)
    if strip.margin % stride:
        raise shard.refuse(func, "rows beyond the shard do not end at its stride", x)
    return strip._replace(extents=tuple(extents), lo=0, hi=0, margin=strip.margin // stride)


def checked(shard: Shard, func: Callable[..., Any], out: Tensor, strips: Iterable[Strip]) -> Tensor:
    """Attach strips to a result, after comparing their rows with its shape.

    Raises:
        NotExact: If they do not agree.
    """
    layout = tuple(strips)
    require_rows(shard, func, out, layout)
    shard.record_map(out, layout)
    return with_layout(out, layout)


def require_rows(shard: Shard, func: Callable[..., Any], out: Tensor, layout: Layout) -> None:
    """Refuse if the shape of a result is not the one that its strips say: then a rule above is wrong.

    Raises:
        NotExact: If it is not.
    """
    for strip in layout:
        if out.shape[strip.dim] % (shard.rows(strip) * strip.inner):
            raise shard.refuse(func, f"{shard.rows(strip)} rows of {strip.axis} were expected", out)


def alone(shard: Shard, func: Callable[..., Any], x: Tensor, strip: Strip) -> None:
    """Refuse if a strip shares its dim with another axis.

    Raises:
        NotExact: If it does.
    """
    if strip.inner != 1 or x.shape[strip.dim] != shard.rows(strip):
        raise shard.refuse(func, f"{strip.axis} shares its dim with another axis", x)


def unpadded(shard: Shard, func: Callable[..., Any], x: Tensor, strip: Strip) -> Strip:
    """Return the strip; refuse if it has rows of padding that no convolution has consumed yet.

    Raises:
        NotExact: If it has.
    """
    if strip.lo or strip.hi:
        raise shard.refuse(func, f"{strip.axis} is padded already", x)
    return strip


def per_dim(value: Any, n: int) -> tuple[int, ...]:
    """Spread an argument over ``n`` dims: one number per dim.

    Example:
        >>> per_dim(2, 3), per_dim((1, 2), 2)
        ((2, 2, 2), (1, 2))
    """
    if isinstance(value, int):
        return (value,) * n
    return tuple(value) * (n if len(value) == 1 else 1)
