"""``F.pad``: along sharded axes a halo exchange, along the others what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from toolkit.distributed.shards.halo import Around, extend, padded
from toolkit.distributed.shards.rules.windows import alone, unpadded
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout, Strip, layout_of, with_layout


class Course(NamedTuple):
    """How a map of one shape and layout is padded: all that does not depend on values.

    Attributes:
        own: whether the model's own call does it, where every edge that is padded is the map's.
        mine: strips that are padded, with rows before and after, and the layout from then on.
        around: other dims, with cells before and after.
        at_once: whether these are padded in the same breath as the last strip.
        after: the layout of the result.
    """

    own: bool
    mine: tuple[tuple[Strip, int, int, Layout], ...]
    around: Around
    at_once: bool
    after: Layout


def pad(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A map padded along any of its dims."""
    return _pad(shard, func, *args, **kwargs)


def _pad(
    shard: Shard,
    func: Callable[..., Any],
    input: Tensor,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> Tensor:
    x, ends = input, tuple(pad)
    key = "pad", x.shape, layout_of(x), ends, mode
    course: Course | None = shard.recall(key)
    if course is None:
        course = _course(shard, func, x, ends, mode)
        shard.keep(key, course)
    if course.own:
        return with_layout(func(x, pad, mode, value), course.after)
    for strip, lo, hi, ready in course.mine:
        last = ready is course.after
        beside = course.around if course.at_once and last else ()
        later = last and len(course.mine) == 1
        x = extend(shard, func, x, strip, lo, hi, mode, value or 0.0, around=beside, later=later)
        with_layout(x, ready)
    if course.around and not course.at_once:
        x = func(x, _flat(course.around, x.ndim, mode), mode, value)
    return with_layout(x, course.after)


def _course(shard: Shard, func: Callable[..., Any], x: Tensor, ends: tuple[int, ...], mode: str) -> Course:
    """How a map is padded, or the refusal."""
    ends += (0,) * (2 * x.ndim - len(ends))
    widths = {dim: (ends[2 * (x.ndim - 1 - dim)], ends[2 * (x.ndim - 1 - dim) + 1]) for dim in range(x.ndim)}
    layout, mine = layout_of(x), []
    for strip in layout:
        lo, hi = widths[strip.dim]
        if lo or hi:
            alone(shard, func, x, unpadded(shard, func, x, strip))
            ready = padded(strip, lo, hi)
            layout = tuple(ready if other.axis == strip.axis else other for other in layout)
            mine.append((strip, lo, hi, layout))
    own = all(len(strip.extents) == 1 and not strip.margin for strip, *_ in mine)
    dims = {strip.dim for strip, *_ in mine}
    around = tuple((dim, lo, hi) for dim, (lo, hi) in widths.items() if (lo or hi) and dim not in dims)
    at_once = mode == "constant" and all(lo >= 0 and hi >= 0 for _, lo, hi in around)
    return Course(own, tuple(mine), around, at_once, layout)


def _flat(around: Around, ndim: int, mode: str) -> list[int]:
    """Widths as ``F.pad`` takes them: last dim first; modes that are not constant want all of the map's dims."""
    widths = [0] * (2 * ndim)
    for dim, lo, hi in around:
        widths[2 * (ndim - 1 - dim) : 2 * (ndim - dim)] = lo, hi
    while len(widths) > 2 and widths[-2:] == [0, 0] and (mode == "constant" or len(widths) > 2 * (ndim - 2)):
        del widths[-2:]
    return widths
