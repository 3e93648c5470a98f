"""Padding a sharded axis: inside the map the neighbours' rows, at its edges the padding that the model asked for.

This one rule is the whole halo exchange. A padded convolution is this padding followed by an unpadded one; h is padded
before w, on the map already extended, which brings the corners of a 2-D lattice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.distributed.comm.exchange import Message
from toolkit.distributed.shards.context import Owed, Shard
from toolkit.distributed.shards.strip import Strip, lay, layout_of
from toolkit.geometry.span import Span
from toolkit.runs.trace import Label

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
    edges = mode == "constant"
    rows = _rows_of(strip, shard.index[strip.axis], lo, hi, edges, shard.plan.borders == "exchange")
    out, body = _room(x, strip.dim, rows.total, around)
    messages = _post(shard, x, strip, rows)
    at, start, count = rows.own
    body.narrow(strip.dim, at, count).copy_(x.narrow(strip.dim, start, count))
    owed = Owed(out, body, strip.dim, messages)
    if not edges:
        settle(shard, [owed])
        return _edge(out, strip.dim, rows.before, rows.after, mode) if rows.before or rows.after else out
    _fill_rims(out, [*around, (strip.dim, rows.before, rows.after)], value)
    if later and messages:
        for place, message in messages:
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
        if lo:
            out.narrow(dim, 0, lo).fill_(value)
        if hi:
            out.narrow(dim, out.shape[dim] - hi, hi).fill_(value)


def settle(shard: Shard, owed: Sequence[Owed]) -> None:
    """Wait for rows that maps still lack, and fill them in."""
    for one in owed:
        for place, message in one.rows:
            rows = shard.exchange.take(message)
            one.body.narrow(one.dim, place, rows.shape[one.dim]).copy_(rows)


class _Rows(NamedTuple):
    """Where the rows of one rank's padded map come from.

    Attributes:
        total: how many there are.
        own: where its own begin in the padded map and in the map, and how many they are.
        before: rows beyond the map's own edge.
        after: the same, at its end.
        crossing: what passes between it and other parts of the axis, in their order: the part, whether the rows leave,
            where they begin in the map that they leave or in the padded map that they enter, and how many they are.
    """

    total: int
    own: tuple[int, int, int]
    before: int
    after: int
    crossing: tuple[tuple[int, bool, int, int], ...]


@lru_cache(maxsize=4096)
def _rows_of(strip: Strip, index: int, lo: int, hi: int, edges: bool, exchanges: bool) -> _Rows:
    """The rows of a padded map; with ``edges`` those beyond the whole map's edges are among them."""
    held = strip.held(index)
    margin = strip.margin - max(lo, hi) if strip.margin else 0
    kept = strip._replace(margin=max(0, margin)).held(index)
    first, stop = kept.start - lo, kept.stop + hi
    inside = Span(max(0, first), min(strip.total, stop))
    before, after = inside.start - first, stop - inside.stop
    if not edges:
        first, stop = inside.start, inside.stop
    both = held & inside
    owned = [strip.own(part) for part in range(len(strip.extents))]
    needs = [Span(max(0, own.start - lo), min(strip.total, own.stop + hi)) for own in owned]
    crossing = []
    for part, own in enumerate(owned if exchanges else ()):
        if part != index and len(span := needs[part] & owned[index]):
            crossing.append((part, True, span.start - owned[index].start, len(span)))
        if part != index and len(span := needs[index] & own):
            crossing.append((part, False, span.start - first, len(span)))
    place = both.start - first, both.start - held.start, len(both)
    return _Rows(stop - first, place, before, after, tuple(crossing))


def _post(shard: Shard, x: Tensor, strip: Strip, rows: _Rows) -> list[tuple[int, Message]]:
    """Start sending the rows that others need of this rank's, and receiving those that it needs of theirs."""
    if not rows.crossing:
        return []
    name = Label(purpose=f"halo {strip.axis}", module=shard.module())
    dim, incoming = strip.dim, []
    for part, leaves, start, count in rows.crossing:
        rank = shard.rank_at(strip.axis, part)
        if leaves:
            # In memory of its own: the model may write to the map while the rows are still leaving.
            leaving = x.narrow(dim, start, count).clone(memory_format=torch.contiguous_format)
            shard.exchange.send(leaving, rank, name)
        else:
            shape = (*x.shape[:dim], count, *x.shape[dim + 1 :])
            incoming.append((start, shard.exchange.receive(shape, x.dtype, rank, name)))
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
    return lay(x, tuple(strips)) if strips else x
