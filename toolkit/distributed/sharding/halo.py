"""Padding a sharded axis: inside the map the neighbours' rows, at its edges the padding that the model asked for.

This one rule is the whole halo exchange. A padded convolution is this padding followed by an unpadded one; h is padded
before w, on the map already extended, which brings the corners of a 2-D lattice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.distributed.exchange import Message
from toolkit.distributed.sharding.context import Owed, Shard
from toolkit.distributed.sharding.strip import Strip, lay, layout_of
from toolkit.geometry.span import Span

Around = Sequence[tuple[int, int, int]]
"""Dims that are padded too, each with cells before and after."""


def extend(
    shard: Shard,
    func: Any,
    x: Tensor,
    strip: Strip,
    lo: int,
    hi: int,
    mode: str = "constant",
    value: float = 0.0,
    *,
    around: Around = (),
    later: bool = False,
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
        around: with ``"constant"``: other dims that are padded in the same breath, with cells before and after.
        later: with ``"constant"``: leave that value where rows of other ranks belong, and let them be filled in when
            they are looked at.

    Returns:
        A new tensor, not yet laid.
    """
    _require_possible(shard, func, x, strip, lo, hi, mode)
    held = strip.held(shard.index[strip.axis])
    first, stop = _wanted(strip, shard.index[strip.axis], lo, hi)
    inside = Span(max(0, first), min(strip.total, stop))
    before, after = inside.start - first, stop - inside.stop
    if mode != "constant":
        first, stop = inside.start, inside.stop
    out, body = _room(x, strip.dim, stop - first, around)
    exchanges = len(strip.extents) > 1 and shard.plan.borders == "exchange"
    messages = _post(shard, x, strip, lo, hi) if exchanges else []
    kept = held & inside
    body.narrow(strip.dim, kept.start - first, len(kept)).copy_(x.narrow(strip.dim, kept.start - held.start, len(kept)))
    owed = Owed(out, body, strip.dim, [(span.start - first, message) for span, message in messages])
    if mode != "constant":
        settle(shard, [owed])
        return _edge(out, strip.dim, before, after, mode) if before or after else out
    _fill_rims(out, [*around, (strip.dim, before, after)], value)
    if later and messages:
        for place, message in owed.rows:
            body.narrow(strip.dim, place, message.buffer.shape[strip.dim]).fill_(value)
        shard.owed.append(owed)
    else:
        settle(shard, [owed])
    return out


def _require_possible(shard: Shard, func: Any, x: Tensor, strip: Strip, lo: int, hi: int, mode: str) -> None:
    if lo < 0 or hi < 0:
        raise shard.refuse(func, f"it crops {strip.axis}", x)
    if mode == "circular":
        raise shard.refuse(func, f"circular padding of {strip.axis} joins the first rank to the last", x)
    if mode == "reflect" and min(strip.extents[0], strip.extents[-1]) <= max(lo, hi):
        raise shard.refuse(func, f"reflecting {max(lo, hi)} rows needs shards of more rows than that", x)
    if shard.plan.borders == "recompute" and strip.margin < max(lo, hi):
        raise shard.refuse(func, f"{strip.margin} rows beyond the shard are left where {max(lo, hi)} are read", x)


def _room(x: Tensor, dim: int, rows: int, around: Around) -> tuple[Tensor, Tensor]:
    """Memory for a padded map, and the view of it that holds the map along every dim but ``dim``."""
    shape = list(x.shape)
    shape[dim] = rows
    for other, lo, hi in around:
        shape[other] += lo + hi
    out = x.new_empty(shape)
    body = out
    for other, lo, _ in around:
        body = body.narrow(other, lo, x.shape[other])
    return out, body


def _fill_rims(out: Tensor, rims: Around, value: float) -> None:
    for dim, lo, hi in rims:
        out.narrow(dim, 0, lo).fill_(value)
        out.narrow(dim, out.shape[dim] - hi, hi).fill_(value)


def settle(shard: Shard, owed: Sequence[Owed]) -> None:
    """Wait for rows that maps still lack, and fill them in."""
    for one in owed:
        for place, message in one.rows:
            rows = shard.exchange.take(message)
            one.body.narrow(one.dim, place, rows.shape[one.dim]).copy_(rows)


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
