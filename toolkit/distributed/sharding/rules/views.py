"""Operations that move, cut and join dims.

What a view does to dims is read off a tensor on the meta device whose strides are all different: no case by case.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.sharding.context import Shard
from toolkit.distributed.sharding.rules.local import agreed
from toolkit.distributed.sharding.strip import Layout, Strip, lay, layout_of

_CUT = -1
_PLACES = frozenset([int, slice, type(None), type(...)])


def view(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Dims change places, are cut out, added or split off; a sharded one must stay whole."""
    x = args[0]
    layout = layout_of(x)
    out = func(*args, **kwargs)
    if not layout:
        return out
    moves = dims_after(shard, func, args, kwargs)
    for one, move in zip((out,) if isinstance(out, Tensor) else out, moves, strict=True):
        lay(one, _moved(shard, func, x, layout, move))
    return out


def _moved(shard: Shard, func: Callable[..., Any], x: Tensor, layout: Layout, move: tuple[int, ...]) -> Layout:
    if any(move[strip.dim] == _CUT for strip in layout):
        raise shard.refuse(func, "it cuts through a sharded axis", x)
    if all(move[strip.dim] == strip.dim for strip in layout):
        return layout
    return tuple(strip._replace(dim=move[strip.dim]) for strip in layout)


def dims_after(
    shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[int, ...], ...]:
    """For each result of a view, where each dim of the tensor went; ``-1`` where it is not whole any more."""
    listed = any(type(one) is list for one in args[1:])
    how = _frozen(args[1:]) if listed or func is torch.Tensor.__getitem__ else args[1:]
    key = (func, args[0].shape, how, *kwargs.items()) if kwargs else (func, args[0].shape, how)
    moves = shard.probes.get(key)
    if moves is None:
        moves = shard.probes[key] = _probe(func, args, kwargs)
    return moves  # type: ignore[no-any-return]


def _probe(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[int, ...], ...]:
    shape = args[0].shape
    # Primes apart, so that no product of a size and a stride meets another.
    strides = [(dim + 2) * 10**7 + 7 * dim + 1 for dim in range(len(shape))]
    tracer = torch.empty_strided(shape, strides, device="meta")
    out = func(tracer, *args[1:], **kwargs)
    moves = []
    for one in (out,) if isinstance(out, Tensor) else out:
        found = {one.stride(dim): dim for dim in range(one.ndim)}
        where = [found.get(stride, _CUT) for stride in strides]
        moves.append(tuple(d if d != _CUT and one.shape[d] == shape[i] else _CUT for i, d in enumerate(where)))
    return tuple(moves)


def _frozen(value: Any) -> Any:
    """A hashable twin of arguments: slices have no hash before Python 3.12."""
    kind = type(value)
    if kind is tuple or kind is list:
        return tuple([_frozen(one) for one in value])
    return (slice, value.start, value.stop, value.step) if kind is slice else value


def index(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``x[...]`` with numbers, slices, None and ``...``."""
    places = args[1] if isinstance(args[1], tuple) else (args[1],)
    kinds = {type(place) for place in places}
    if not kinds <= _PLACES:
        raise shard.refuse(func, "it picks cells by a tensor or list of indices", args[0])
    return view(shard, func, args, kwargs)


def reshape(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Dims are merged and split in row-major order."""
    x, layout = args[0], layout_of(args[0])
    out = func(*args, **kwargs)
    if not layout:
        return out
    if out.shape == x.shape:
        return lay(out, layout)
    key = "reshape", x.shape, out.shape, layout
    if key not in shard.probes:
        strips = [_reshaped(shard, func, x, strip, tuple(out.shape)) for strip in layout]
        shard.probes[key] = tuple(_finest(shard, strip, strips, out.shape[strip.dim]) for strip in strips)
    return lay(out, shard.probes[key])


def _finest(shard: Shard, strip: Strip, strips: list[Strip], size: int) -> Strip:
    """A dim that holds nothing but rows and what lies in them is one of finer rows: patches merged into the map."""
    lonely = sum(other.dim == strip.dim for other in strips) == 1
    if lonely and strip.inner > 1 and size == shard.rows(strip) * strip.inner and not (strip.lo or strip.hi):
        return scaled(strip._replace(inner=1), strip.inner)
    return strip


def _reshaped(shard: Shard, func: Callable[..., Any], x: Tensor, strip: Strip, shape: tuple[int, ...]) -> Strip:
    """Where a strip is after a reshape, by the arithmetic of row-major order.

    A row is ``step`` cells; it lies whole within the dim whose own step divides ``step`` and whose reach is a multiple
    of all rows'. Where rows are split in two dims (patches), the outer one keeps the strip.
    """
    rows, step = shard.rows(strip), strip.inner * math.prod(x.shape[strip.dim + 1 :])
    pending = strip.lo or strip.hi or strip.margin
    for dim, size in enumerate(shape):
        own = math.prod(shape[dim + 1 :])
        if step % own == 0 and (own * size) % (step * rows) == 0 and rows > 1:
            return strip._replace(dim=dim, inner=step // own)
    for dim, size in reversed(list(enumerate(shape))):
        own = math.prod(shape[dim + 1 :])
        patch = own // step
        fits = own % step == 0 and size > 1 and rows % patch == 0 and (own * size) % (step * rows) == 0
        if fits and not pending and all(extent % patch == 0 for extent in strip.extents):
            return strip._replace(dim=dim, inner=1, extents=tuple(extent // patch for extent in strip.extents))
    raise shard.refuse(func, f"{strip.axis} cannot be found again in shape {shape}", x)


def join(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``cat`` and ``stack``, along a dim that is not sharded."""
    parts = list(args[0] if args else kwargs["tensors"])
    dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    stacks = func.__name__ == "stack"
    dim %= parts[0].ndim + stacks
    layouts = {layout_of(part) for part in parts}
    layout = next(layout_of(part) for part in parts if layout_of(part))
    if len(layouts) > 1:
        if shard.plan.borders == "recompute":
            raise shard.refuse(func, "its tensors hold different rows", *parts)
        raise shard.refuse(func, "its tensors are sharded differently", *parts)
    if stacks:
        return lay(func(*args, **kwargs), (s._replace(dim=s.dim + (s.dim >= dim)) for s in layout))
    if any(strip.dim == dim for strip in layout):
        raise shard.refuse(func, "it joins along a sharded axis", *parts)
    return lay(func(*args, **kwargs), layout)


def repeat(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Repetition; along a sharded axis only cell by cell, as nearest upsampling does."""
    x, out = args[0], func(*args, **kwargs)
    strips = []
    for strip in layout_of(x):
        dim = strip.dim - x.ndim + out.ndim
        times = out.shape[dim] // x.shape[strip.dim]
        lonely = strip.inner == 1 and x.shape[strip.dim] == shard.rows(strip) and not (strip.lo or strip.hi)
        if times > 1 and not (func.__name__ == "repeat_interleave" and lonely):
            raise shard.refuse(func, f"it repeats {strip.axis} as a whole", x)
        strips.append(scaled(strip._replace(dim=dim), times))
    return lay(out, strips)


def scaled(strip: Strip, times: int) -> Strip:
    """The strip of a map with ``times`` as many rows."""
    extents = tuple(extent * times for extent in strip.extents)
    return strip._replace(extents=extents, margin=strip.margin * times)


def write(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``x[...] = y``: what is written must be sharded as the place that it is written to.

    A whole tensor that is written to for the first time (a fresh buffer of the local shape) is sharded from then on.
    """
    x, place, value = args
    given = layout_of(value)
    if not given and not layout_of(x):
        return func(*args, **kwargs)
    move = dims_after(shard, torch.Tensor.__getitem__, (x, place), {})[0]
    target = torch.Tensor.__getitem__(x, place)
    if layout_of(x):
        lay(target, _moved(shard, func, x, layout_of(x), move))
        values = [target, value] if isinstance(value, Tensor) else [target]
        agreed(shard, func, values)
        return func(*args, **kwargs)
    back = {after: before for before, after in enumerate(move) if after != _CUT}
    offset = target.ndim - value.ndim
    if any(strip.dim + offset not in back for strip in given):
        raise shard.refuse(func, "a strip is written where a whole axis was", x, value)
    func(*args, **kwargs)
    lay(x, (strip._replace(dim=back[strip.dim + offset]) for strip in given))
    return None


def copy_into(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``x.copy_(y)``: as an assignment to the whole of ``x``."""
    write(shard, torch.Tensor.__setitem__, (args[0], ..., args[1]), {})
    return args[0]
