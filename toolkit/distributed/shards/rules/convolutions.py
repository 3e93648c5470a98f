"""Convolutions: the rows of other ranks come from them, and strides keep to the grid of the whole map.

Along each axis, a convolution takes one of four ways:

    nothing to do     the axis is not padded, or no other rank lies along it: the model's own call is right
    early             it begins with zeros, and is mended at the borders when the halo is there (borders.py)
    pending           the model has padded the map before; the halo is under way, and is mended in the same manner
    grown             everything else: the halo is brought in first (halo.py), and the convolution does not pad

Which way depends on shapes and layouts only. So it is worked out once (`_steps`), and remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from toolkit.distributed.shards.halo import extend, padded, settle
from toolkit.distributed.shards.rules.borders import (
    ConvolutionWindow,
    begins_early,
    convolve_pending,
    convolved,
    convolved_early,
    pending_of,
)
from toolkit.distributed.shards.rules.windows import after_window, alone, per_dim, require_rows, unpadded
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout, Strip, layout_of, replaced, with_layout


class ConvolutionSteps(NamedTuple):
    """The steps of a convolution on a map of one shape and layout: everything that does not depend on values.

    Attributes:
        stride: The stride along each dim.
        dilation: The dilation along each dim.
        padding: What the convolution itself pads along each dim, with zeros.
        early: Strips along which it begins before the rows of other ranks are there.
        grown: Strips along which the map is padded first: the strip, rows before, rows after, the layout after that.
        after: The layout of the result.
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    early: Layout
    grown: tuple[tuple[Strip, int, int, Layout], ...]
    after: Layout


def convolution(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``conv1d`` to ``conv3d``: each rank's part, padded with the rows of other ranks at the borders to them."""
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
    steps: ConvolutionSteps = known or _steps(shard, func, x, weight, stride, padding, dilation)
    pending = pending_of(shard, x) if shard.pending else None
    if pending is not None and (steps.early or steps.grown):
        # The map was padded along one axis, and this convolution pads the other. The columns that it sends contain the
        # rows that are still under way, so those must be there first.
        settle(shard, [pending])
        pending = None
    for strip, lo, hi, ready in steps.grown:
        x = with_layout(extend(shard, func, x, strip, lo=lo, hi=hi), ready)
    if steps.early or pending is not None:
        window = ConvolutionWindow(func, weight, bias, steps.stride, steps.dilation, groups)
        if pending is not None:
            out = convolve_pending(shard, window, pending=pending, padding=steps.padding)
        else:
            out = convolved_early(shard, window, x, strips=steps.early, padding=steps.padding)
    else:
        out = convolved(shard, func, x, weight, bias, steps.stride, steps.padding, steps.dilation, groups)
    if known is None:
        # Remembered only after the shape of a result has agreed with the layout.
        require_rows(shard, func, out, steps.after)
        shard.keep(key, steps)
    shard.record_map(out, steps.after)
    return with_layout(out, steps.after)


def _steps(
    shard: Shard, func: Callable[..., Any], x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any
) -> ConvolutionSteps:
    """Work out the steps of a convolution.

    Raises:
        NotExact: If it cannot be computed exactly from this rank's rows and its neighbours'.
    """
    n = weight.ndim - 2
    window = ConvolutionWindow(func, weight, None, per_dim(stride, n), per_dim(dilation, n), 1)
    pads = _conv_pads(padding, [window.reach(place) for place in range(n)], n=n)
    layout = layout_of(x)
    early = _early(shard, window, x, pads=pads)
    grown, strips = [], list(layout)
    for at, strip in enumerate(layout):
        # The dims of x are batch, channels, and the n dims of the window; without a batch, channels come first. So a
        # negative place is one of those two.
        place = strip.dim - (x.ndim - n)
        if place == -1:
            raise shard.refuse(func, f"{strip.axis} lies in its channels", x)
        if place < 0 or (window.reach(place) == window.stride[place] == 1 and pads[place] == (0, 0)):
            continue
        alone(shard, func, x, strip)
        lo, hi = pads[place]
        ready = padded(unpadded(shard, func, x, strip), lo, hi) if lo or hi else strip
        if (lo or hi) and strip not in early and not (_is_whole(strip) and lo == hi):
            layout = replaced(layout, ready)
            grown.append((strip, lo, hi, layout))
            # Padded by then, so the convolution does not pad along this dim.
            pads[place] = 0, 0
        strips[at] = after_window(shard, func, x, ready, reach=window.reach(place), stride=window.stride[place])
    if any(lo != hi for lo, hi in pads):
        raise shard.refuse(func, "padding='same' with an even kernel", x)
    widths = tuple(lo for lo, _ in pads)
    return ConvolutionSteps(window.stride, window.dilation, widths, early, tuple(grown), tuple(strips))


def _is_whole(strip: Strip) -> bool:
    """Whether no other rank lies along the axis: both edges are the map's own, and the convolution may pad them."""
    return len(strip.extents) == 1 and not strip.margin


def _early(shard: Shard, window: ConvolutionWindow, x: Tensor, *, pads: Sequence[tuple[int, int]]) -> Layout:
    """The strips along which other ranks lie, if the convolution may begin early along *all* of them; else none."""
    beside = tuple(strip for strip in layout_of(x) if not _is_whole(strip))
    places = [strip.dim - (x.ndim - len(pads)) for strip in beside]
    even = all(lo == hi for lo, hi in pads)
    may = even and all(
        place >= 0 and pads[place][0] > 0 and begins_early(shard, window, strip, place=place, pad=pads[place][0])
        for place, strip in zip(places, beside, strict=True)
    )
    return beside if may else ()


def _conv_pads(padding: Any, reach: Sequence[int], *, n: int) -> list[tuple[int, int]]:
    """Cells of padding before and after along each dim, from any form that a convolution takes them in."""
    if padding == "same":
        return [((size - 1) // 2, size - 1 - (size - 1) // 2) for size in reach]
    if padding == "valid":
        return [(0, 0)] * n
    return [(pad, pad) for pad in per_dim(padding, n)]
