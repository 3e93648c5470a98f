"""Operations with a window: what it does to strips; pooling and transposed convolutions."""

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
    """Transposed convolutions whose windows do not overlap: each cell becomes a patch of its own."""
    given = dict(zip(TRANSPOSED, args, strict=False)) | kwargs
    x, weight = given["input"], given["weight"]
    n = weight.ndim - 2
    stride, padding = per_dim(given.get("stride", 1), n), per_dim(given.get("padding", 0), n)
    strips = []
    for strip in layout_of(x):
        place = strip.dim - (x.ndim - n)
        alone(shard, func, x, unpadded(shard, func, x, strip))
        if place < 0 or weight.shape[2 + place] != stride[place] or padding[place]:
            raise shard.refuse(func, "its windows overlap", x)
        strips.append(scaled(strip, stride[place]))
    return checked(shard, func, func(*args, **kwargs), strips)


def pool(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Pooling without padding."""
    given = dict(zip(POOL, args, strict=False)) | kwargs
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
        strips.append(after_window(shard, func, x, strip, size[place], stride[place]))
    return checked(shard, func, func(*args, **kwargs), strips)


def after_window(shard: Shard, func: Callable[..., Any], x: Tensor, strip: Strip, reach: int, stride: int) -> Strip:
    """The strip after a window of ``reach`` rows went over it in steps of ``stride``.

    Every rank's windows must begin where the whole map's do, and none may be lost between two ranks.
    """
    whole = (strip.total + strip.lo + strip.hi - reach) // stride + 1
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
    """``out`` with its strips noted, after comparing their rows with its shape."""
    layout = tuple(strips)
    require_rows(shard, func, out, layout)
    shard.note(out, layout)
    return with_layout(out, layout)


def require_rows(shard: Shard, func: Callable[..., Any], out: Tensor, layout: Layout) -> None:
    """Refuse where the shape of a result is not that of its strips."""
    for strip in layout:
        if out.shape[strip.dim] % (shard.rows(strip) * strip.inner):
            raise shard.refuse(func, f"{shard.rows(strip)} rows of {strip.axis} were expected", out)


def alone(shard: Shard, func: Callable[..., Any], x: Tensor, strip: Strip) -> None:
    """Refuse where a strip shares its dim with another axis."""
    if strip.inner != 1 or x.shape[strip.dim] != shard.rows(strip):
        raise shard.refuse(func, f"{strip.axis} shares its dim with another axis", x)


def unpadded(shard: Shard, func: Callable[..., Any], x: Tensor, strip: Strip) -> Strip:
    """The strip; refuse where rows of padding wait to be consumed."""
    if strip.lo or strip.hi:
        raise shard.refuse(func, f"{strip.axis} is padded already", x)
    return strip


def per_dim(value: Any, n: int) -> tuple[int, ...]:
    """One number a dim.

    Example:
        >>> per_dim(2, 3), per_dim((1, 2), 2)
        ((2, 2, 2), (1, 2))
    """
    if isinstance(value, int):
        return (value,) * n
    return tuple(value) * (n if len(value) == 1 else 1)
