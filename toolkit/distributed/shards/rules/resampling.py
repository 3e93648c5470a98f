"""Changes of resolution by whole factors, cell by cell; a rank's cells become its own cells of the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from toolkit.distributed.shards.rules.norms import require_settled
from toolkit.distributed.shards.rules.views import scaled
from toolkit.distributed.shards.rules.windows import alone, checked, unpadded
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Strip, layout_of, with_layout


def interpolate(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``interpolate`` to the nearest cell by a whole factor.

    Other modes look across borders, at places that depend on the size of the whole map.
    """
    x = args[0] if args else kwargs["input"]
    out: Tensor = func(*args, **kwargs)
    mode = kwargs.get("mode", args[3] if len(args) > 3 else "nearest")
    key = "interpolate", mode, x.shape, out.shape, layout_of(x)
    after = shard.recall(key)
    if after is not None:
        shard.record_map(out, after)
        return with_layout(out, after)
    strips = []
    for strip in layout_of(x):
        alone(shard, func, x, unpadded(shard, func, x, strip))
        before, rows = x.shape[strip.dim], out.shape[strip.dim]
        if rows % before or (rows != before and mode not in ("nearest", "nearest-exact")):
            raise shard.refuse(func, f"mode {mode!r} from {before} to {rows} rows of {strip.axis}", x)
        strips.append(scaled(strip, rows // before))
    checked(shard, func, out, strips)
    shard.keep(key, layout_of(out))
    return out


def shuffle(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``pixel_shuffle`` and ``pixel_unshuffle``: channels to patches of cells, and back."""
    x, grows = args[0], func.__name__ == "pixel_shuffle"
    factor: int = args[1] if len(args) > 1 else kwargs["upscale_factor" if grows else "downscale_factor"]
    strips = []
    for strip in layout_of(x):
        alone(shard, func, x, unpadded(shard, func, x, strip))
        strips.append(scaled(strip, factor) if grows else shrunk(shard, func, x, strip, factor))
    return checked(shard, func, func(*args, **kwargs), strips)


def shrunk(shard: Shard, func: Any, x: Tensor, strip: Strip, times: int) -> Strip:
    """The strip of a map after every ``times`` rows became one.

    Raises:
        NotExact: If a rank's rows do not divide evenly, or some are not its own.
    """
    if any(extent % times for extent in strip.extents):
        raise shard.refuse(func, f"shards of {strip.axis} are not multiples of {times} rows", x)
    require_settled(shard, func, x, (strip,))
    return strip._replace(extents=tuple(extent // times for extent in strip.extents))
