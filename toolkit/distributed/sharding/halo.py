"""Padding a sharded axis: inside the map the neighbours' rows, at its edges the padding that the model asked for.

This one rule is the whole halo exchange. A padded convolution is this padding followed by an unpadded one; h is padded
before w, on the map already extended, which brings the corners of a 2-D lattice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.distributed.exchange import Message
from toolkit.distributed.sharding.context import Shard
from toolkit.distributed.sharding.strip import Strip, lay, layout_of
from toolkit.geometry.span import Span


def extend(
    shard: Shard, func: Any, x: Tensor, strip: Strip, lo: int, hi: int, mode: str = "constant", value: float = 0.0
) -> Tensor:
    """``x`` with ``lo`` rows before and ``hi`` rows after its strip, which must be a dim of its own.

    Args:
        shard: this rank's shard.
        func: the operation that asks, for refusals.
        x: the map; strips of other axes stay where they are.
        strip: the strip that is padded.
        lo: rows before.
        hi: rows after.
        mode: as :func:`torch.nn.functional.pad` takes it.
        value: what ``"constant"`` pads with.

    Returns:
        A new tensor, not yet laid.
    """
    if lo < 0 or hi < 0:
        raise shard.refuse(func, f"it crops {strip.axis}", x)
    if mode == "circular":
        raise shard.refuse(func, f"circular padding of {strip.axis} joins the first rank to the last", x)
    if mode == "reflect" and min(strip.extents[0], strip.extents[-1]) <= max(lo, hi):
        raise shard.refuse(func, f"reflecting {max(lo, hi)} rows needs shards of more rows than that", x)
    if shard.plan.borders == "recompute" and strip.margin < max(lo, hi):
        raise shard.refuse(func, f"{strip.margin} rows beyond the shard are left where {max(lo, hi)} are read", x)
    index = shard.index[strip.axis]
    want = _wanted(strip, index, lo, hi)
    inside = Span(max(0, want[0]), min(strip.total, want[1]))
    before, after = inside.start - want[0], want[1] - inside.stop
    held = strip.held(index)
    fill = mode == "constant"
    shape = list(x.shape)
    shape[strip.dim] = len(inside) + (before + after if fill else 0)
    out = x.new_empty(shape)
    at = before if fill else 0
    exchanges = len(strip.extents) > 1 and shard.plan.borders == "exchange"
    messages = _post(shard, x, strip, lo, hi) if exchanges else []
    kept = held & inside
    out.narrow(strip.dim, at + kept.start - inside.start, len(kept)).copy_(
        x.narrow(strip.dim, kept.start - held.start, len(kept))
    )
    if fill and before:
        out.narrow(strip.dim, 0, before).fill_(value)
    if fill and after:
        out.narrow(strip.dim, shape[strip.dim] - after, after).fill_(value)
    for span, message in messages:
        out.narrow(strip.dim, at + span.start - inside.start, len(span)).copy_(shard.exchange.take(message))
    if not fill and (before or after):
        return _edge(out, strip.dim, before, after, mode)
    return out


def _wanted(strip: Strip, index: int, lo: int, hi: int) -> tuple[int, int]:
    """The rows that a rank is to hold after the padding, beyond the map's edges too."""
    margin = strip.margin - max(lo, hi) if strip.margin else 0
    held = strip._replace(margin=max(0, margin)).held(index)
    return held.start - lo, held.stop + hi


def _post(shard: Shard, x: Tensor, strip: Strip, lo: int, hi: int) -> list[tuple[Span, Message]]:
    """Start sending the rows that others need of this rank's, and receiving those that it needs of theirs."""
    axis, me = strip.axis, shard.index[strip.axis]
    owned = [strip.own(index) for index in range(len(strip.extents))]
    needs = [Span(max(0, own.start - lo), min(strip.total, own.stop + hi)) for own in owned]
    name = f"halo {axis} of {shard.module()}"
    incoming = []
    for peer, own in enumerate(owned):
        rank = shard.rank_at(axis, peer)
        if peer != me and len(wanted := needs[peer] & owned[me]):
            rows = x.narrow(strip.dim, wanted.start - owned[me].start, len(wanted))
            # In memory of its own: the model may write to the map while the rows are still leaving.
            shard.exchange.send(rows.clone(memory_format=torch.contiguous_format), rank, name)
        if peer != me and len(span := needs[me] & own):
            shape = [*x.shape[: strip.dim], len(span), *x.shape[strip.dim + 1 :]]
            incoming.append((span, shard.exchange.receive(tuple(shape), x.dtype, rank, name)))
    return incoming


def _edge(x: Tensor, dim: int, before: int, after: int, mode: str) -> Tensor:
    """Pad the map's own edges along one dim; ``reflect`` and ``replicate`` take the last dims only."""
    moved = x.movedim(dim, -1)
    flat = moved.reshape(-1, 1, moved.shape[-1])
    padded = F.pad(flat, (before, after), mode)
    return padded.reshape(*moved.shape[:-1], padded.shape[-1]).movedim(-1, dim)


def padded(strip: Strip, lo: int, hi: int) -> Strip:
    """The strip of a map that :func:`extend` has padded."""
    margin = strip.margin - max(lo, hi) if strip.margin else 0
    return strip._replace(lo=strip.lo + lo, hi=strip.hi + hi, margin=margin)


def crop_to(shard: Shard, x: Any, margins: Mapping[str, int]) -> Any:
    """``x`` with no more rows beyond the rank's own than ``margins`` says for each axis; anything else as it is."""
    strips = []
    for strip in layout_of(x):
        smaller = strip._replace(margin=min(strip.margin, margins[strip.axis]))
        index = shard.index[strip.axis]
        held, kept = strip.held(index), smaller.held(index)
        x = x.narrow(strip.dim, kept.start - held.start, len(kept) + strip.lo + strip.hi)
        strips.append(smaller)
    return lay(x, strips) if strips else x
