"""Operations that work cell by cell: every rank computes them on its own shard, and strips stay where they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from toolkit.distributed.shards.halo import crop_to
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout, Strip, layout_of, shifted, tensors_in, with_layout

_NUMBERS = frozenset([int, float, bool, type(None)])


def elementwise(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Arithmetic of any number of tensors that are broadcast together; all that are sharded must be sharded alike."""
    layout = _same(args, kwargs)
    if layout is None:
        if shard.plan.borders == "recompute":
            args = _cropped(shard, func, args)
        layout = agreed(shard, func, tensors_in([*args, *kwargs.values()]))
    out = func(*args, **kwargs)
    return with_layout(out, layout) if isinstance(out, Tensor) else out


def _same(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Layout | None:
    """The layout of the first argument, if it is quick to see that no other argument disagrees; else None.

    This is the fast path of nearly all arithmetic: activations with numbers, with activations of the same layout, or
    with weights of one number per channel.
    """
    given = (*args, *kwargs.values()) if kwargs else args
    first = given[0]
    layout = layout_of(first)
    if not layout:
        return None
    for other in given:
        if other is first or type(other) in _NUMBERS:
            continue
        if isinstance(other, Tensor):
            behind, theirs = first.ndim - other.ndim, layout_of(other)
            if behind < 0 or (theirs and (behind or theirs != layout)):
                return None
            if not theirs:
                # A whole tensor may only be broadcast along a sharded dim.
                shape = other.shape
                for strip in layout:
                    if strip.dim >= behind and shape[strip.dim - behind] != 1:
                        return None
        elif isinstance(other, (list, tuple)):
            return None
    return layout


def agreed(shard: Shard, func: Callable[..., Any], tensors: Any) -> Layout:
    """The layout of the result of broadcasting tensors.

    Raises:
        NotExact: If they are sharded differently, or a strip meets a whole axis.
    """
    given = list(tensors)
    ndim = max(t.ndim for t in given)
    strips: dict[str, Strip] = {}
    for t in given:
        for strip in shifted(layout_of(t), ndim - t.ndim):
            if strips.setdefault(strip.axis, strip) != strip:
                raise shard.refuse(func, "its tensors are sharded differently", *given)
    # A tensor without a strip of an axis must have size 1 there, or not have the dim at all.
    for t in given:
        mine = {strip.axis for strip in layout_of(t)}
        for axis, strip in strips.items():
            at = strip.dim - (ndim - t.ndim)
            if axis not in mine and at >= 0 and t.shape[at] != 1:
                raise shard.refuse(func, f"a strip of {axis} meets a tensor that is not sharded", *given)
    return tuple(strips[axis] for axis in sorted(strips))


def _cropped(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Crop tensors to the rows that all of them hold.

    With ``borders="recompute"`` each convolution consumes some of the margin. So after a residual block the sum's two
    terms have margins of different widths.

    Raises:
        NotExact: If the operation would write into a tensor that has to be cropped.
    """
    margins: dict[str, int] = {}
    for t in tensors_in(args):
        for strip in layout_of(t):
            margins[strip.axis] = min(margins.get(strip.axis, strip.margin), strip.margin)
    # add_ and __iadd__, but not __add__.
    in_place = (func.__name__.endswith("_") and not func.__name__.endswith("__")) or func.__name__.startswith("__i")
    if in_place and any(strip.margin > margins[strip.axis] for strip in layout_of(args[0])):
        raise shard.refuse(func, "it writes into a map that holds more rows than what is written", args[0])
    return tuple(crop_to(shard, value, margins) for value in args)


def like_first(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Casts and copies: the result has the shape of the first argument, cell for cell, or is that argument itself."""
    out = func(*args, **kwargs)
    return out if out is args[0] or not isinstance(out, Tensor) else with_layout(out, layout_of(args[0]))


def plain(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Questions about a tensor, and new tensors that hold nothing of it: local, and without strips."""
    return func(*args, **kwargs)


def getter(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Attributes that are tensors: ``.data`` is sharded like the tensor; transposes (``.T``) are refused."""
    out = func(*args, **kwargs)
    if not isinstance(out, Tensor):
        return out
    if out.shape != args[0].shape or func.__self__.__name__ not in ("data", "real"):  # type: ignore[attr-defined]
        raise shard.refuse(func, "an attribute that moves dims", args[0])
    return with_layout(out, layout_of(args[0]))
