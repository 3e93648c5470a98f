"""Padding a sharded axis: neighbours' rows inside the map, the model's own padding at the map's edges.

This one rule is the whole halo exchange. Padding a map and then convolving it without padding is the same as a padded
convolution. So wherever a model pads an axis that is divided over ranks, the padding rows are taken from the ranks that
own them. Three ranks with four rows each (``a``, ``b``, ``c``), before a convolution that reads one row on either side:

    whole map        0 | a a a a  b b b b  c c c c | 0          0: the model's padding, at the edges of the map only

    rank 0           0 | a a a a  b                             its last row is the halo that rank 1 sent
    rank 1                   a  b b b b  c
    rank 2                            b  c c c c | 0

The axis h is padded before w, and w on the map that is already padded along h. So the rows that travel along w contain
the corners, and no rank exchanges anything with its diagonal neighbours.

Why this cannot deadlock: what every rank sends and receives follows from the plan and the strip alone (`_rows_of`), so
for every send there is exactly one receive on the other side. All sends and receives of one padding are started before
any of them is waited for. Between two ranks, messages match in the order in which they were started; every rank runs
the same model and therefore starts its paddings in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.distributed.comm.message import Incoming, Message, Outgoing
from toolkit.distributed.shards.shard import PendingHalo, Shard
from toolkit.distributed.shards.strip import Strip, layout_of, with_layout
from toolkit.geometry.span import Span
from toolkit.numerics.memory_format import memory_format_of
from toolkit.runs.trace import Label

Around = Sequence[tuple[int, int, int]]
"""Dims that are padded in the same step, each with the number of cells before and after."""


def extend(
    shard: Shard,
    func: Any,
    x: Tensor,
    strip: Strip,
    *,
    lo: int,
    hi: int,
    mode: str = "constant",
    value: float = 0.0,
    around: Around = (),
    later: bool = False,
) -> Tensor:
    """Pad a sharded map with ``lo`` rows before and ``hi`` rows after this rank's own.

    Args:
        shard: This rank's shard.
        func: The operation that needs the rows; for refusals.
        x: The map. Strips of other axes stay as they are.
        strip: The strip to pad. It must be a dim of its own.
        lo: Number of rows before.
        hi: Number of rows after.
        mode: The padding at the edges of the map, as :func:`torch.nn.functional.pad` takes it.
        value: The value of ``"constant"`` padding.
        around: With ``"constant"``: other dims to pad in the same step, which saves a copy of the map.
        later: With ``"constant"``: return before the rows of other ranks have arrived. Their places hold ``value``
            until they are filled in, before the next operation that looks at the map: see ``Shard.pending``.

    Returns:
        A new tensor, without a layout yet: :func:`padded` gives the strip that it holds.

    Raises:
        NotExact: If the padding cannot be computed from the neighbours' rows.
    """
    _require_possible(shard, func, x, strip, lo=lo, hi=hi, mode=mode)
    constant = mode == "constant"
    rows = _rows_of(
        strip, shard.index[strip.axis], lo=lo, hi=hi, edges=constant, exchanges=shard.plan.borders == "exchange"
    )
    out, body = _room(x, strip.dim, rows=rows.total, around=around)
    messages = _post(shard, x, strip, rows=rows)
    # While the messages travel, copy this rank's own rows to their place.
    at, start, count = rows.own
    body.narrow(strip.dim, at, count).copy_(x.narrow(strip.dim, start, count))
    pending = PendingHalo(out, body, strip.dim, messages)
    if not constant:
        # Reflected and replicated rows are copies of rows that may still be under way, so wait for those first.
        settle(shard, [pending])
        return (
            _edge(out, strip.dim, before=rows.before, after=rows.after, mode=mode) if rows.before or rows.after else out
        )
    _fill_rims(out, [*around, (strip.dim, rows.before, rows.after)], value=value)
    if later and messages:
        # A convolution may read these places before the rows are there: let them hold finite numbers.
        for place, message in messages:
            body.narrow(strip.dim, place, message.buffer.shape[strip.dim]).fill_(value)
        shard.pending.append(pending)
    else:
        settle(shard, [pending])
    return out


def _require_possible(shard: Shard, func: Any, x: Tensor, strip: Strip, *, lo: int, hi: int, mode: str) -> None:
    """Refuse paddings that the neighbours' rows cannot give."""
    if lo < 0 or hi < 0:
        raise shard.refuse(func, f"it crops {strip.axis}", x)
    if mode == "circular":
        raise shard.refuse(func, f"circular padding of {strip.axis} joins the first rank to the last", x)
    if mode == "reflect" and min(strip.extents[0], strip.extents[-1]) <= max(lo, hi):
        raise shard.refuse(func, f"reflecting {max(lo, hi)} rows needs shards with more rows than that", x)
    if shard.plan.borders == "recompute" and strip.margin < max(lo, hi):
        raise shard.refuse(func, f"it reads {max(lo, hi)} rows beyond the shard, of which {strip.margin} are left", x)


def _room(x: Tensor, dim: int, *, rows: int, around: Around) -> tuple[Tensor, Tensor]:
    """Memory for a padded map, in the map's own format, and the view of it without the padding of the dims ``around``.

    Along ``dim`` the view has all ``rows``: rows that arrive are copied into it as they are.
    """
    shape = list(x.shape)
    shape[dim] = rows
    for other, lo, hi in around:
        shape[other] += lo + hi
    out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format_of(x))
    body = out
    for other, lo, _ in around:
        body = body.narrow(other, lo, x.shape[other])
    return out, body


def _fill_rims(out: Tensor, rims: Around, *, value: float) -> None:
    """Write constant padding: the first and last cells along each dim."""
    for dim, lo, hi in rims:
        if lo:
            out.narrow(dim, 0, lo).fill_(value)
        if hi:
            out.narrow(dim, out.shape[dim] - hi, hi).fill_(value)


def settle(shard: Shard, pending: Sequence[PendingHalo]) -> None:
    """Wait for the rows that maps still lack, and fill them in."""
    for one in pending:
        for place, message in one.rows:
            rows = shard.exchange.take(message)
            one.body.narrow(one.dim, place, rows.shape[one.dim]).copy_(rows)


class _Rows(NamedTuple):
    """Where the rows of one rank's padded map come from.

    Attributes:
        total: Number of rows of the padded map.
        own: This rank's own rows: where they begin in the padded map, where they begin in the map, how many they are.
        before: Rows before the first row of the whole map; the model's padding fills them.
        after: Rows after its last row.
        crossing: The messages to and from other parts of the axis, in the order of the parts. For each: the part;
            whether the rows leave this rank; where they begin, in the map if they leave, in the padded map if they
            arrive; and how many they are.
    """

    total: int
    own: tuple[int, int, int]
    before: int
    after: int
    crossing: tuple[tuple[int, bool, int, int], ...]


@lru_cache(maxsize=4096)
def _rows_of(strip: Strip, index: int, *, lo: int, hi: int, edges: bool, exchanges: bool) -> _Rows:
    """Work out where each row of a padded map comes from, in the coordinates of the whole map.

    Args:
        strip: The strip to pad.
        index: This rank's place along the axis.
        lo: Number of rows before.
        hi: Number of rows after.
        edges: Whether rows beyond the edges of the whole map are part of the padded map.
        exchanges: Whether ranks exchange rows; if not, the rows are in the strip's margin already.
    """
    # The rows that this rank holds now, and those that it will be responsible for once the margin has been consumed.
    held = strip.held(index)
    margin = strip.margin - max(lo, hi) if strip.margin else 0
    kept = strip._replace(margin=max(0, margin)).held(index)
    # The padded map reaches from `first` to `stop`, which may lie outside the map at its two ends.
    first, stop = kept.start - lo, kept.stop + hi
    inside = Span(max(0, first), min(strip.total, stop))
    before, after = inside.start - first, stop - inside.stop
    if not edges:
        first, stop = inside.start, inside.stop
    both = held & inside
    # Each part needs the rows around its own; whoever owns some of them sends them. A thin neighbour may own too few,
    # so more than one part on a side can be involved.
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


def _post(shard: Shard, x: Tensor, strip: Strip, *, rows: _Rows) -> list[tuple[int, Message]]:
    """Start to send the rows that others need, and to receive those that this rank needs.

    Returns:
        The receives, each with the row of the padded map where its rows go.
    """
    if not rows.crossing:
        return []
    label = Label(purpose=f"halo {strip.axis}", module=shard.module())
    dim, sends, receives, places = strip.dim, [], [], []
    for part, leaves, start, count in rows.crossing:
        rank = shard.rank_at(strip.axis, part)
        if leaves:
            # A copy, because the model may write to the map while the rows are still leaving.
            leaving = x.narrow(dim, start, count).clone(memory_format=torch.contiguous_format)
            sends.append(Outgoing(leaving, rank))
        else:
            receives.append(Incoming((*x.shape[:dim], count, *x.shape[dim + 1 :]), x.dtype, rank))
            places.append(start)
    return list(zip(places, shard.exchange.swap(label, sends, receives), strict=True))


def _edge(x: Tensor, dim: int, *, before: int, after: int, mode: str) -> Tensor:
    """Pad the edges of the whole map along one dim, by ``reflect`` or ``replicate``.

    ``F.pad`` does so along the last dims only, and wants a batch and a channel dim before them: hence the reshapes.
    """
    moved = x.movedim(dim, -1)
    flat = moved.reshape(-1, 1, moved.shape[-1])
    padded = F.pad(flat, (before, after), mode)
    back = padded.reshape(*moved.shape[:-1], padded.shape[-1]).movedim(-1, dim)
    return back.contiguous(memory_format=memory_format_of(x))


def padded(strip: Strip, lo: int, hi: int) -> Strip:
    """The strip of a map that :func:`extend` has padded."""
    margin = strip.margin - max(lo, hi) if strip.margin else 0
    return strip._replace(lo=strip.lo + lo, hi=strip.hi + hi, margin=margin)


def crop_to(shard: Shard, x: Any, margins: Mapping[str, int]) -> Any:
    """Drop rows around this rank's own until ``margins`` of each axis are left; other values stay as they are."""
    strips = []
    for strip in layout_of(x):
        smaller = strip._replace(margin=min(strip.margin, margins[strip.axis]))
        index = shard.index[strip.axis]
        held, kept = strip.held(index), smaller.held(index)
        x = x.narrow(strip.dim, kept.start - held.start, len(kept) + strip.lo + strip.hi)
        strips.append(smaller)
    return with_layout(x, tuple(strips)) if strips else x
