"""Operations that move, cut and join dims.

What a view does to dims is not written down case by case: it is read off torch itself. The view is made of a tensor on
the meta device (shapes and strides, no data) whose strides are telling: all different, and unlike anything that a view
can make of others. A dim of the result with the stride and the size of a dim of the tensor *is* that dim.

    the probe       shape (2, 3, 5)   strides (a, b, c)
    x.permute(2, 0, 1)    (5, 2, 3)           (c, a, b)         dims 0, 1, 2 went to places 1, 2, 0
    x[:, 1]               (2, 5)              (a, c)            dim 1 is gone: _CUT
    x[:, :, 1:4]          (2, 3, 3)           (a, b, c)         dim 2 has another size: _CUT
    x[:, None]            (2, 1, 3, 5)        (a, ?, b, c)      dims 0, 1, 2 went to places 0, 2, 3

If the dim of a strip is in the result, the result has the strip there. If it is not, the view cuts through a sharded
axis, and is refused. So ranks need no rule per view, and new views of torch are either right or refused.

Reshapes are different: a result need not be a view, and merged dims have strides of their own. There the place of a
strip follows from row-major order (``_reshaped``).
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
from toolkit.numerics.tensor_compat import without_modes

_CUT = -1
"""The place of a dim that is not whole any more."""

_STRIDES = tuple((dim + 2) * 10**7 + 7 * dim + 1 for dim in range(64))
"""The telling strides of the probe, by dim.

None is a multiple of another, because a slice with a step multiplies a stride. None is the sum of two others, because a
diagonal adds strides. So no view makes one dim look like another."""

_PLACES = frozenset([int, slice, type(None), type(...)])
_WHOLE = slice(None)


def view(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Views: dims change places, are cut, added or removed; the dim of a strip must stay whole."""
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
        after = [_moved(shard, func, x, layout, move=move) for move in _probe(func, args, kwargs=kwargs)]
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
    # Types are part of the key: True == 1 and hash alike, but x[True] and x[1] are not the same. Slices have
    # no hash before Python 3.12.
    how = [(one.start, one.stop, one.step) if type(one) is slice else (type(one), one) for one in places]
    key = "index", x.shape, layout_of(x), tuple(how)
    after = shard.recall(key)
    if after is None:
        if not _PLACES.issuperset(map(type, places)):
            raise shard.refuse(func, "it picks cells by a tensor or list of indices", x)
        after = _moved(shard, func, x, layout_of(x), move=_probe(func, args, kwargs={})[0])
        shard.keep(key, after)
    return with_layout(func(x, places), after)


def _leaves_strips(places: tuple[Any, ...], layout: Layout) -> bool:
    """Whether all places are slices and none cuts a strip. This is the usual case, and needs no memory to see."""
    if {slice}.issuperset(map(type, places)):
        return all(strip.dim >= len(places) or places[strip.dim] == _WHOLE for strip in layout)
    return False


def _moved(shard: Shard, func: Callable[..., Any], x: Tensor, layout: Layout, *, move: tuple[int, ...]) -> Layout:
    """The layout after a view that moves dim ``d`` to ``move[d]``.

    Raises:
        NotExact: If the dim of a strip is not whole any more.
    """
    if any(move[strip.dim] == _CUT for strip in layout):
        raise shard.refuse(func, "it cuts through a sharded axis", x)
    if all(move[strip.dim] == strip.dim for strip in layout):
        return layout
    return tuple(strip._replace(dim=move[strip.dim]) for strip in layout)


def _probe(func: Callable[..., Any], args: tuple[Any, ...], *, kwargs: dict[str, Any]) -> list[tuple[int, ...]]:
    """Make a view of a probe with telling strides, and see where its dims went.

    Returns:
        For each result of the view (``chunk`` has several), the place of each dim; ``_CUT`` if it is not whole.
    """
    shape = args[0].shape
    strides = _STRIDES[: len(shape)]
    # On the meta device nothing is allocated, so strides may be as large as they like.
    with without_modes():
        out = func(torch.empty_strided(shape, strides, device="meta"), *args[1:], **kwargs)
    moves = []
    for one in (out,) if isinstance(out, Tensor) else out:
        # Stride and size together: a slice keeps the stride and changes the size.
        found = {pair: dim for dim, pair in enumerate(zip(one.stride(), one.shape, strict=True))}
        moves.append(tuple([found.get(pair, _CUT) for pair in zip(strides, shape, strict=True)]))
    return moves


def _frozen(value: Any) -> Any:
    """A hashable twin of an index, different for indices that do different things: ``x[1, 2], x[[1, 2]], x[True]``."""
    kind = type(value)
    if kind is tuple or kind is list:
        return kind, *[_frozen(one) for one in value]
    if kind is slice:
        return kind, value.start, value.stop, value.step
    return (kind, value) if kind is bool else value


def reshape(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``reshape``, ``view``, ``flatten``, ``unflatten``: dims are merged and split in row-major order."""
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
        strips = [_reshaped(shard, func, x, strip, shape=tuple(onto)) for strip in layout]
        after = tuple(_finest(shard, strip, strips, size=onto[strip.dim]) for strip in strips)
        shard.keep(key, after)
    return with_layout(out, after)


def _finest(shard: Shard, strip: Strip, strips: list[Strip], *, size: int) -> Strip:
    """Read a dim that holds nothing but rows and what lies in them as a dim of finer rows.

    That is how patches are merged back into the map: ``(h q) -> h*q`` has ``h * q`` rows afterwards, not ``h`` rows of
    ``q`` elements each.
    """
    lonely = sum(other.dim == strip.dim for other in strips) == 1
    if lonely and strip.inner > 1 and size == shard.rows(strip) * strip.inner and not (strip.lo or strip.hi):
        return scaled(strip._replace(inner=1), strip.inner)
    return strip


def _reshaped(shard: Shard, func: Callable[..., Any], x: Tensor, strip: Strip, *, shape: tuple[int, ...]) -> Strip:
    """Find a strip again after a reshape.

    In row-major order, one row to the next is ``step`` elements, and one index to the next along a dim of the new shape
    is ``own`` elements. Two cases:

        (2, 6, 5) -> (2, 30)      step 5, own 1: rows lie whole inside the new dim, 5 elements each
        (2, 6, 5) -> (2, 3, 2, 5) step 5, own 10 and 5: rows are split over two dims, in patches of 2; the outer of the
                                  two keeps the strip, with half as many rows

    Raises:
        NotExact: If rows do not lie in one dim in either way.
    """
    rows, step = shard.rows(strip), strip.inner * math.prod(x.shape[strip.dim + 1 :])
    pending = strip.lo or strip.hi or strip.margin
    for dim, size in enumerate(shape):
        own = math.prod(shape[dim + 1 :])
        # Whole: a row is a whole number of the dim's steps, and the dim reaches over all rows, once or several times.
        if step % own == 0 and (own * size) % (step * rows) == 0 and rows > 1:
            return strip._replace(dim=dim, inner=step // own)
    for dim, size in reversed(list(enumerate(shape))):
        own = math.prod(shape[dim + 1 :])
        # Split: one step of the dim is `patch` rows. Every rank's rows must divide into patches, padding excluded.
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
    """``stack``: a new dim, before which strips stay and after which they move by one."""
    parts = args[0] if args else kwargs["tensors"]
    dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % (parts[0].ndim + 1)
    layout = _alike(shard, func, parts)
    return with_layout(func(*args, **kwargs), tuple(s._replace(dim=s.dim + (s.dim >= dim)) for s in layout))


def _alike(shard: Shard, func: Callable[..., Any], parts: Sequence[Tensor]) -> Layout:
    """The layout that several tensors share.

    Raises:
        NotExact: If they do not have the same one.
    """
    layout = layout_of(parts[0])
    for part in parts:
        if layout_of(part) != layout:
            if shard.plan.borders == "recompute":
                raise shard.refuse(func, "its tensors hold different rows", *parts)
            raise shard.refuse(func, "its tensors are sharded differently", *parts)
    return layout


def repeat(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Repetition; along a sharded axis only cell by cell, as nearest upsampling does it.

    ``repeat`` writes the whole axis several times, one copy after the other: a part of that is no longer one strip.
    """
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
    """``x[...] = y``: the value must be sharded like the place that it is written to.

    A tensor without strips that gets its first sharded value (a buffer that the model has made in the local shape) is
    sharded from then on.
    """
    x, place, value = args
    given = layout_of(value)
    if not given and not layout_of(x):
        return func(*args, **kwargs)
    move = _moves_to(shard, x, place)
    target = torch.Tensor.__getitem__(x, place)
    if layout_of(x):
        with_layout(target, _moved(shard, func, x, layout_of(x), move=move))
        values = [target, value] if isinstance(value, Tensor) else [target]
        agreed(shard, func, values)
        return func(*args, **kwargs)
    # A first value: the strips of the value, carried back from the place to the buffer's own dims.
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
        (move,) = _probe(torch.Tensor.__getitem__, (x, place), kwargs={})
        shard.keep(key, move)
    return move  # type: ignore[no-any-return]


def copy_into(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``x.copy_(y)``: the same as an assignment to the whole of ``x``."""
    write(shard, torch.Tensor.__setitem__, (args[0], ..., args[1]), {})
    return args[0]
