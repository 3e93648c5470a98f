"""Convolutions: a halo exchange and an unpadded one; strides keep to the whole map's grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from toolkit.distributed.shards.halo import extend, padded, settle
from toolkit.distributed.shards.rules.borders import (
    Window,
    begins_early,
    convolve_pending,
    convolved,
    convolved_early,
    pending_of,
)
from toolkit.distributed.shards.rules.windows import after_window, alone, per_dim, require_rows, unpadded
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout, Strip, layout_of, with_layout


class Course(NamedTuple):
    """How a convolution of a map of one shape and layout goes: all that does not depend on values.

    Attributes:
        stride: steps of the window, one a dim.
        dilation: the same, between the cells that it looks at.
        padding: what the window itself pads, as ever.
        early: strips along which it begins before rows of other ranks are there.
        grown: strips along which the map is padded first, with rows before and after, and the layout from then on.
        after: the layout of the result.
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    early: Layout
    grown: tuple[tuple[Strip, int, int, Layout], ...]
    after: Layout


def convolution(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Each rank's part of a convolution, padded where it meets other ranks by their rows."""
    return _convolve(shard, func, *args, **kwargs)


def _convolve(
    shard: Shard,
    func: Callable[..., Any],
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    x = input
    key = "convolution", x.shape, weight.shape, stride, padding, dilation, layout_of(x)
    known = shard.recall(key)
    course: Course = known or _course(shard, func, x, weight, stride, padding, dilation)
    pending = pending_of(shard, x) if shard.pending else None
    if pending is not None and (course.early or course.grown):
        settle(shard, [pending])  # the rows go on to other ranks with the columns
        pending = None
    for strip, lo, hi, ready in course.grown:
        x = with_layout(extend(shard, func, x, strip, lo, hi), ready)
    if course.early or pending is not None:
        window = Window(func, weight, bias, course.stride, course.dilation, groups)
        if pending is not None:
            out = convolve_pending(shard, window, pending, course.padding)
        else:
            out = convolved_early(shard, window, x, course.early, course.padding)
    else:
        out = convolved(shard, func, x, weight, bias, course.stride, course.padding, course.dilation, groups)
    if known is None:
        require_rows(shard, func, out, course.after)
        shard.keep(key, course)
    shard.note(out, course.after)
    return with_layout(out, course.after)


def _course(
    shard: Shard, func: Callable[..., Any], x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any
) -> Course:
    """How the convolution goes, or the refusal."""
    n = weight.ndim - 2
    window = Window(func, weight, None, per_dim(stride, n), per_dim(dilation, n), 1)
    pads = _conv_pads(padding, [window.reach(place) for place in range(n)], n)
    layout = layout_of(x)
    early = _early(shard, window, x, pads)
    grown, strips = [], list(layout)
    for at, strip in enumerate(layout):
        place = strip.dim - (x.ndim - n)
        if place == -1:
            raise shard.refuse(func, f"{strip.axis} lies in its channels", x)
        if place < 0 or (window.reach(place) == window.stride[place] == 1 and pads[place] == (0, 0)):
            continue
        alone(shard, func, x, strip)
        lo, hi = pads[place]
        ready = padded(unpadded(shard, func, x, strip), lo, hi) if lo or hi else strip
        if (lo or hi) and strip not in early and not (_is_whole(strip) and lo == hi):
            layout = tuple(ready if other.axis == strip.axis else other for other in layout)
            grown.append((strip, lo, hi, layout))
            pads[place] = 0, 0
        strips[at] = after_window(shard, func, x, ready, window.reach(place), window.stride[place])
    if any(lo != hi for lo, hi in pads):
        raise shard.refuse(func, "padding='same' with an even kernel", x)
    widths = tuple(lo for lo, _ in pads)
    return Course(window.stride, window.dilation, widths, early, tuple(grown), tuple(strips))


def _is_whole(strip: Strip) -> bool:
    """Whether nobody lies beside this rank: both edges are the map's own, and the window may pad them."""
    return len(strip.extents) == 1 and not strip.margin


def _early(shard: Shard, window: Window, x: Tensor, pads: Sequence[tuple[int, int]]) -> Layout:
    """The strips along which other ranks lie, if a convolution may begin before their rows are there along all."""
    beside = tuple(strip for strip in layout_of(x) if not _is_whole(strip))
    places = [strip.dim - (x.ndim - len(pads)) for strip in beside]
    even = all(lo == hi for lo, hi in pads)
    may = even and all(
        place >= 0 and pads[place][0] > 0 and begins_early(shard, window, strip, place, pads[place][0])
        for place, strip in zip(places, beside, strict=True)
    )
    return beside if may else ()


def _conv_pads(padding: Any, reach: Sequence[int], n: int) -> list[tuple[int, int]]:
    if padding == "same":
        return [((size - 1) // 2, size - 1 - (size - 1) // 2) for size in reach]
    if padding == "valid":
        return [(0, 0)] * n
    return [(pad, pad) for pad in per_dim(padding, n)]
