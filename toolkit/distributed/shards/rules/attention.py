"""Attention over the map: queries stay on their rank; keys and values of all ranks are brought to them.

Either all at once (``attention="gather"``), or rank by rank around a ring (``attention="ring"``), which needs memory
for two ranks' keys and values only. In the ring a running softmax adds up what has come so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.shards.gather import around, collect, partners
from toolkit.distributed.shards.rules.masks import frames_of
from toolkit.distributed.shards.rules.norms import require_settled
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout, layout_of, with_layout
from toolkit.numerics.frame_masks import FrameMask
from toolkit.numerics.running_attention import RunningAttention

ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")


def attention(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``scaled_dot_product_attention`` over ``b heads n d``.

    If the cells of the map are in the batch (attention over time), it is local. If they are the tokens ``n``, it is
    attention over the whole map. A mask may only tell frames apart; it is applied frame by frame and never built.
    """
    given = dict(zip(ARGUMENTS, args, strict=False)) | kwargs
    q, k, v, mask = given["query"], given["key"], given["value"], given.get("attn_mask")
    layout = layout_of(q)
    if not layout and isinstance(mask, FrameMask):
        both, seen = [torch.cat([k, v], -1)], mask.frames == 0
        return _by_frames(func, q, parts=both, width=k.shape[-1], visible=seen, scale=given.get("scale"))
    if {(s.axis, s.dim) for s in layout_of(k)} != {(s.axis, s.dim) for s in layout} or layout_of(v) != layout_of(k):
        raise shard.refuse(func, "queries, keys and values are sharded differently", q, k, v)
    # Counted from the end: -2 are the tokens; anything before that is a batch.
    places = {strip.dim - q.ndim for strip in layout}
    if max(places) < -2:
        return with_layout(func(*args, **kwargs), layout)
    if places != {-2} or given.get("is_causal") or given.get("dropout_p") or given.get("enable_gqa"):
        raise shard.refuse(func, "only plain attention with cells as tokens is known", q, k, v)
    require_settled(shard, func, q, layout)
    visible = None if mask is None else frames_of(shard, func, mask, q.shape[-2])
    scale = given.get("scale")
    if shard.plan.attention == "ring":
        out = _ring(shard, q, k, v, layout=layout, visible=visible, scale=scale)
    else:
        out = _gathered(shard, func, q, k, v, layout=layout, visible=visible, scale=scale)
    return with_layout(out, layout)


def _gathered(
    shard: Shard,
    func: Callable[..., Any],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    layout: Layout,
    visible: Tensor | None,
    scale: float | None,
) -> Tensor:
    """Attention with the keys and values of all ranks brought here at once."""
    if visible is None and len(partners(shard, layout)) == 1:
        return func(q, k, v, scale=scale)  # type: ignore[no-any-return]
    # Keys and values travel in one message.
    parts = collect(shard, torch.cat([k, v], -1), dim=k.ndim - 2, layout=layout, what="keys and values")
    if visible is None:
        keys, values = torch.cat(parts, -2).split([k.shape[-1], v.shape[-1]], -1)
        out: Tensor = func(q, keys, values, scale=scale)
        return out
    return _by_frames(func, q, parts=parts, width=k.shape[-1], visible=visible, scale=scale)


def _by_frames(
    func: Callable[..., Any], q: Tensor, *, parts: list[Tensor], width: int, visible: Tensor, scale: float | None
) -> Tensor:
    """Attention frame by frame: each frame's queries with the keys of the frames that it sees.

    Args:
        func: The attention function.
        q: This rank's queries.
        parts: Keys and values of every rank, side by side in the last dim.
        width: Size of a key.
        visible: Which frames each frame sees, ``t x t`` of bool.
        scale: The factor on the scores; None: the usual one.
    """
    frames = len(visible)
    split = [part.unflatten(-2, (frames, -1)) for part in parts]
    rows = []
    for frame, queries in enumerate(q.chunk(frames, -2)):
        seen = torch.cat([part[..., visible[frame], :, :].flatten(-3, -2) for part in split], -2)
        keys, values = seen.split([width, seen.shape[-1] - width], -1)
        rows.append(func(queries, keys, values, scale=scale))
    return torch.cat(rows, -2)


def _ring(
    shard: Shard, q: Tensor, k: Tensor, v: Tensor, *, layout: Layout, visible: Tensor | None, scale: float | None
) -> Tensor:
    """Attention with the keys and values of one rank after the other."""
    running = RunningAttention(q, v.shape[-1], scale)
    parts = around(shard, torch.cat([k, v], -1), dim=k.ndim - 2, layout=layout, what="keys and values")
    for _, part in parts:
        for rows, seen in _blocks(part, q.shape[-2], visible=visible):
            key, value = seen.split([k.shape[-1], v.shape[-1]], -1)
            running.add(key, value, rows)
    return running.result()


def _blocks(part: Tensor, queries: int, *, visible: Tensor | None) -> Iterator[tuple[slice, Tensor]]:
    """Yield which queries attend to which keys of one rank's part: rows of the queries, and the keys and values."""
    if visible is None:
        yield slice(None), part
        return
    frames = len(visible)
    each, split = queries // frames, part.unflatten(-2, (frames, -1))
    for frame in range(frames):
        yield slice(frame * each, (frame + 1) * each), split[..., visible[frame], :, :].flatten(-3, -2)
