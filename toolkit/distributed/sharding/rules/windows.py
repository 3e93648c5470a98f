"""Operations with a window: convolutions, pooling, and the padding before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from toolkit.distributed.sharding.context import Shard
from toolkit.distributed.sharding.halo import extend, padded, settle
from toolkit.distributed.sharding.rules.borders import Window, begins_early, convolved_early, convolved_owed, owed_to
from toolkit.distributed.sharding.rules.views import scaled
from toolkit.distributed.sharding.strip import Strip, lay, layout_of

CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
POOL = ("input", "kernel_size", "stride", "padding")


def convolution(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A padded convolution is a halo exchange and an unpadded one; strides keep to the whole map's grid."""
    given = dict(zip(CONVOLUTION, args, strict=False)) | kwargs
    x, weight = given["input"], given["weight"]
    n = weight.ndim - 2
    stride, dilation = per_dim(given.get("stride", 1), n), per_dim(given.get("dilation", 1), n)
    window = Window(func, weight, given.get("bias"), stride, dilation, given.get("groups", 1))
    pads = _conv_pads(given.get("padding", 0), [window.reach(place) for place in range(n)], n)
    strips = list(layout_of(x))
    owed = owed_to(shard, x)
    if owed is not None and _pads_strips(x, pads):
        settle(shard, [owed])  # the rows go on to other ranks with the columns
        owed = None
    if _all_early(shard, window, x, pads):
        for strip in strips:
            alone(shard, func, x, strip)
        return checked(shard, func, convolved_early(shard, window, x, strips, tuple(lo for lo, _ in pads)), strips)
    for at, strip in enumerate(layout_of(x)):
        place = strip.dim - (x.ndim - n)
        if place == -1:
            raise shard.refuse(func, f"{strip.axis} lies in its channels", x)
        if place < 0 or (window.reach(place) == stride[place] == 1 and pads[place] == (0, 0)):
            continue
        alone(shard, func, x, strip)
        x, ready = _padded(shard, func, x, strip, *pads[place])
        pads[place] = 0, 0
        strips[at] = after_window(shard, func, x, ready, window.reach(place), stride[place])
    padding = _symmetric(shard, func, x, pads)
    if owed is not None:
        return checked(shard, func, convolved_owed(shard, window, owed, padding), strips)
    return checked(shard, func, window(shard, x, padding), strips)


def _all_early(shard: Shard, window: Window, x: Tensor, pads: list[tuple[int, int]]) -> bool:
    """Whether a convolution may begin before rows of other ranks are there, along every axis that is sharded."""
    places = [(strip, strip.dim - (x.ndim - len(pads))) for strip in layout_of(x)]
    return (
        bool(places)
        and all(lo == hi for lo, hi in pads)
        and all(
            place >= 0 and pads[place][0] > 0 and begins_early(shard, window, strip, place, pads[place][0])
            for strip, place in places
        )
    )


def _pads_strips(x: Tensor, pads: list[tuple[int, int]]) -> bool:
    """Whether a convolution itself pads along an axis that is sharded."""
    places = (strip.dim - (x.ndim - len(pads)) for strip in layout_of(x))
    return any(place >= 0 and pads[place] != (0, 0) for place in places)


def _padded(shard: Shard, func: Callable[..., Any], x: Tensor, strip: Strip, lo: int, hi: int) -> tuple[Tensor, Strip]:
    """A map and one of its strips, after zero padding along it; other strips keep their places."""
    if not lo and not hi:
        return x, strip
    others = layout_of(x)
    x = extend(shard, func, x, unpadded(shard, func, x, strip), lo, hi)
    ready = padded(strip, lo, hi)
    lay(x, [ready if other.axis == strip.axis else other for other in others])
    return x, ready


def _conv_pads(padding: Any, reach: Sequence[int], n: int) -> list[tuple[int, int]]:
    if padding == "same":
        return [((size - 1) // 2, size - 1 - (size - 1) // 2) for size in reach]
    if padding == "valid":
        return [(0, 0)] * n
    return [(pad, pad) for pad in per_dim(padding, n)]


def _symmetric(shard: Shard, func: Callable[..., Any], x: Tensor, pads: list[tuple[int, int]]) -> tuple[int, ...]:
    if any(lo != hi for lo, hi in pads):
        raise shard.refuse(func, "padding='same' with an even kernel", x)
    return tuple(lo for lo, _ in pads)


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


def pad(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``F.pad``: along sharded axes a halo exchange, along the others what it is."""
    given = dict(zip(("input", "pad", "mode", "value"), args, strict=False)) | kwargs
    x, mode, value = given["input"], given.get("mode", "constant"), given.get("value") or 0.0
    ends = list(given["pad"]) + [0] * (2 * x.ndim - len(given["pad"]))
    widths = {dim: (ends[2 * (x.ndim - 1 - dim)], ends[2 * (x.ndim - 1 - dim) + 1]) for dim in range(x.ndim)}
    mine = [strip for strip in layout_of(x) if any(widths[strip.dim])]
    if all(len(strip.extents) == 1 and not strip.margin for strip in mine):
        # Nobody beside this rank: every edge is the map's own.
        for strip in mine:
            alone(shard, func, x, unpadded(shard, func, x, strip))
        own = (padded(strip, *widths[strip.dim]) for strip in layout_of(x))
        return lay(func(*args, **kwargs), own)
    around = [(dim, *ends) for dim, ends in widths.items() if any(ends) and all(dim != strip.dim for strip in mine)]
    at_once = mode == "constant" and all(lo >= 0 and hi >= 0 for _, lo, hi in around)
    strips = list(layout_of(x))
    for strip in mine:
        alone(shard, func, x, unpadded(shard, func, x, strip))
        last = strip is mine[-1]
        beside = around if at_once and last else ()
        x = extend(shard, func, x, strip, *widths[strip.dim], mode, value, around=beside, later=last and len(mine) == 1)
        strips = [padded(one, *widths[strip.dim]) if one.axis == strip.axis else one for one in strips]
        lay(x, strips)
    if around and not at_once:
        x = func(x, _flat(around, x.ndim, mode), mode, value if mode == "constant" else None)
    return lay(x, strips)


def _flat(around: Sequence[tuple[int, int, int]], ndim: int, mode: str) -> list[int]:
    """Widths as ``F.pad`` takes them: last dim first; modes that are not constant want all of the map's dims."""
    widths = [0] * (2 * ndim)
    for dim, lo, hi in around:
        widths[2 * (ndim - 1 - dim) : 2 * (ndim - dim)] = lo, hi
    while len(widths) > 2 and widths[-2:] == [0, 0] and (mode == "constant" or len(widths) > 2 * (ndim - 2)):
        del widths[-2:]
    return widths


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


def checked(shard: Shard, func: Callable[..., Any], out: Tensor, strips: list[Strip]) -> Tensor:
    """``out`` with its strips noted, after comparing their rows with its shape."""
    for strip in strips:
        if out.shape[strip.dim] % (shard.rows(strip) * strip.inner):
            raise shard.refuse(func, f"{shard.rows(strip)} rows of {strip.axis} were expected", out)
    shard.note(out, strips)
    return lay(out, strips)


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
