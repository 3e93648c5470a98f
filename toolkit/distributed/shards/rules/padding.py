"""``F.pad``: along sharded axes it is a halo exchange (halo.py), along the others it stays what it is.

What is done depends on shapes and layouts only. So it is worked out once (`_steps`), and remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from toolkit.distributed.shards.halo import Around, extend, padded
from toolkit.distributed.shards.rules.windows import alone, unpadded
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout, Strip, layout_of, replaced, with_layout


class PaddingSteps(NamedTuple):
    """The steps of padding a map of one shape and layout: everything that does not depend on values.

    Attributes:
        own: Whether the model's own call does it, because every edge that is padded is an edge of the map.
        mine: Strips that are padded: the strip, rows before, rows after, the layout after that.
        around: Other dims that are padded, with cells before and after.
        at_once: Whether these are padded together with the last strip, which saves a copy of the map.
        after: The layout of the result.
    """

    own: bool
    mine: tuple[tuple[Strip, int, int, Layout], ...]
    around: Around
    at_once: bool
    after: Layout


def pad(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``pad``: along any dims of a map."""
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
    steps: PaddingSteps | None = shard.recall(key)
    if steps is None:
        steps = _steps(shard, func, x, ends, mode)
        shard.keep(key, steps)
    if steps.own:
        return with_layout(func(x, pad, mode, value), steps.after)
    for strip, lo, hi, ready in steps.mine:
        last = ready is steps.after
        beside = steps.around if steps.at_once and last else ()
        # With a second strip, the rows of the first must be there at once: the columns that are sent contain them.
        later = last and len(steps.mine) == 1
        x = extend(shard, func, x, strip, lo=lo, hi=hi, mode=mode, value=value or 0.0, around=beside, later=later)
        with_layout(x, ready)
    if steps.around and not steps.at_once:
        x = func(x, _flat(steps.around, x.ndim, mode=mode), mode, value)
    return with_layout(x, steps.after)


def _steps(shard: Shard, func: Callable[..., Any], x: Tensor, ends: tuple[int, ...], mode: str) -> PaddingSteps:
    """Work out how a map is padded.

    Raises:
        NotExact: If a strip that is padded is not a dim of its own, or is padded already.
    """
    # F.pad counts dims from the last: ends = (lo, hi) of the last dim, then of the one before it, and so on.
    ends += (0,) * (2 * x.ndim - len(ends))
    widths = {dim: (ends[2 * (x.ndim - 1 - dim)], ends[2 * (x.ndim - 1 - dim) + 1]) for dim in range(x.ndim)}
    layout, mine = layout_of(x), []
    for strip in layout:
        lo, hi = widths[strip.dim]
        if lo or hi:
            alone(shard, func, x, unpadded(shard, func, x, strip))
            ready = padded(strip, lo, hi)
            layout = replaced(layout, ready)
            mine.append((strip, lo, hi, layout))
    own = all(len(strip.extents) == 1 and not strip.margin for strip, *_ in mine)
    dims = {strip.dim for strip, *_ in mine}
    around = tuple((dim, lo, hi) for dim, (lo, hi) in widths.items() if (lo or hi) and dim not in dims)
    at_once = mode == "constant" and all(lo >= 0 and hi >= 0 for _, lo, hi in around)
    return PaddingSteps(own, tuple(mine), around, at_once, layout)


def _flat(around: Around, ndim: int, *, mode: str) -> list[int]:
    """Widths in the form that ``F.pad`` takes: the last dim first, and no zeros for dims that it can leave out.

    Only ``"constant"`` accepts any number of dims; the other modes want all dims but batch and channels.
    """
    widths = [0] * (2 * ndim)
    for dim, lo, hi in around:
        widths[2 * (ndim - 1 - dim) : 2 * (ndim - dim)] = lo, hi
    while len(widths) > 2 and widths[-2:] == [0, 0] and (mode == "constant" or len(widths) > 2 * (ndim - 2)):
        del widths[-2:]
    return widths
