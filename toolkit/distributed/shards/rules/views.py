"""Operations that move, cut and join dims.

What a view does to dims is read off a tensor on the meta device whose strides are all different: no case by case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.shards.rules.local import agreed
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout, Strip, layout_of, with_layout

_CUT = -1
_STRIDES = tuple((dim + 2) * 10**7 + 7 * dim + 1 for dim in range(64))
"""Strides by which a dim is recognised after a view.

None is a multiple of another, because a step multiplies strides, and none is the sum of two, because a diagonal adds
them. So no view makes one dim look like another."""

_PLACES = frozenset([int, slice, type(None), type(...)])
_WHOLE = slice(None)


def view(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Dims change places, are cut out, added or split off; a sharded one must stay whole."""
    x = args[0]
    layout = layout_of(x)
    out = func(*args, **kwargs)
    if not layout:
        return out
    how = args[1:]
    key: tuple[Any, ...] = ("view", func, x.shape, layout, how)
    if kwargs:
        key += (*kwargs, *kwargs.values())
    after = shard.recall(key)
    if after is None:
        after = [_moved(shard, func, x, layout, move) for move in _probe(func, args, kwargs)]
        shard.keep(key, after)
    if isinstance(out, Tensor):
        return with_layout(out, after[0])
    for one, its in zip(out, after, strict=True):
        with_layout(one, its)
    return out


def index(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``x[...]`` with numbers, slices, None and ``...``."""
    x, places = args
    places = places if isinstance(places, tuple) else (places,)
    if _leaves_strips(places, layout_of(x)):
        return with_layout(func(x, places), layout_of(x))
    how = [(one.start, one.stop, one.step) if type(one) is slice else (type(one), one) for one in places]
    key = "index", x.shape, layout_of(x), tuple(how)
    after = shard.recall(key)
    if after is None:
        if not _PLACES.issuperset(map(type, places)):
            raise shard.refuse(func, "it picks cells by a tensor or list of indices", x)
        after = _moved(shard, func, x, layout_of(x), _probe(func, args, {})[0])
        shard.keep(key, after)
    return with_layout(func(x, places), after)


def _leaves_strips(places: tuple[Any, ...], layout: Layout) -> bool:
    """Whether all are slices, and none cuts a strip: most of what models ask for, seen without looking it up."""
    if {slice}.issuperset(map(type, places)):
        return all(strip.dim >= len(places) or places[strip.dim] == _WHOLE for strip in layout)
    return False


def _moved(shard: Shard, func: Callable[..., Any], x: Tensor, layout: Layout, move: tuple[int, ...]) -> Layout:
    if any(move[strip.dim] == _CUT for strip in layout):
        raise shard.refuse(func, "it cuts through a sharded axis", x)
    if all(move[strip.dim] == strip.dim for strip in layout):
        return layout
    return tuple(strip._replace(dim=move[strip.dim]) for strip in layout)


def _probe(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[int, ...]]:
    """For each result of a view, where each dim of the tensor went; ``-1`` where it is not whole any more."""
    shape = args[0].shape
    strides = _STRIDES[: len(shape)]
    out = func(torch.empty_strided(shape, strides, device="meta"), *args[1:], **kwargs)
    moves = []
    for one in (out,) if isinstance(out, Tensor) else out:
        found = {pair: dim for dim, pair in enumerate(zip(one.stride(), one.shape, strict=True))}
        moves.append(tuple([found.get(pair, _CUT) for pair in zip(strides, shape, strict=True)]))
    return moves


def _frozen(value: Any) -> Any:
    """A hashable twin of arguments, in which what indexes differently is different: ``x[1, 2], x[[1, 2]], x[True]``."""
    kind = type(value)
    if kind is tuple or kind is list:
        return kind, *[_frozen(one) for one in value]
    if kind is slice:
        return kind, value.start, value.stop, value.step
    return (kind, value) if kind is bool else value


def reshape(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Dims are merged and split in row-major order."""
    x, layout = args[0], layout_of(args[0])
    out = func(*args, **kwargs)
    if not layout:
        return out
    shape, onto = x.shape, out.shape
    if shape == onto:
        return with_layout(out, layout)
    key = "reshape", shape, onto, layout
    after = shard.recall(key)
    if after is None:
        strips = [_reshaped(shard, func, x, strip, tuple(onto)) for strip in layout]
        after = tuple(_finest(shard, strip, strips, onto[strip.dim]) for strip in strips)
        shard.keep(key, after)
    return with_layout(out, after)


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
    """``cat``, along a dim that is not sharded."""
    parts = args[0] if args else kwargs["tensors"]
    dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
    layout, ndim = _alike(shard, func, parts), parts[0].ndim
    for strip in layout:
        if strip.dim == dim or strip.dim == dim + ndim:
            raise shard.refuse(func, "it joins along a sharded axis", *parts)
    return with_layout(func(*args, **kwargs), layout)


def pile(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``stack``: a new dim."""
    parts = args[0] if args else kwargs["tensors"]
    dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % (parts[0].ndim + 1)
    layout = _alike(shard, func, parts)
    return with_layout(func(*args, **kwargs), tuple(s._replace(dim=s.dim + (s.dim >= dim)) for s in layout))


def _alike(shard: Shard, func: Callable[..., Any], parts: Sequence[Tensor]) -> Layout:
    """The layout that several tensors have."""
    layout = layout_of(parts[0])
    for part in parts:
        if layout_of(part) != layout:
            if shard.plan.borders == "recompute":
                raise shard.refuse(func, "its tensors hold different rows", *parts)
            raise shard.refuse(func, "its tensors are sharded differently", *parts)
    return layout


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
    return with_layout(out, tuple(strips))


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
    move = _moves_to(shard, x, place)
    target = torch.Tensor.__getitem__(x, place)
    if layout_of(x):
        with_layout(target, _moved(shard, func, x, layout_of(x), move))
        values = [target, value] if isinstance(value, Tensor) else [target]
        agreed(shard, func, values)
        return func(*args, **kwargs)
    back = {after: before for before, after in enumerate(move) if after != _CUT}
    offset = target.ndim - value.ndim
    if any(strip.dim + offset not in back for strip in given):
        raise shard.refuse(func, "a strip is written where a whole axis was", x, value)
    func(*args, **kwargs)
    with_layout(x, tuple(strip._replace(dim=back[strip.dim + offset]) for strip in given))
    return None


def _moves_to(shard: Shard, x: Tensor, place: Any) -> tuple[int, ...]:
    """Where each dim of ``x`` is in ``x[place]``."""
    key = "place", x.shape, _frozen(place)
    move = shard.recall(key)
    if move is None:
        (move,) = _probe(torch.Tensor.__getitem__, (x, place), {})
        shard.keep(key, move)
    return move  # type: ignore[no-any-return]


def copy_into(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``x.copy_(y)``: as an assignment to the whole of ``x``."""
    write(shard, torch.Tensor.__setitem__, (args[0], ..., args[1]), {})
    return args[0]
