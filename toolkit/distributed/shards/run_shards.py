"""One call on shards: cut the input, run the model's own code, bring the parts of the output together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.shards.mode import ShardMode
from toolkit.distributed.shards.recompute import compute_alone
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout, Strip, layout_of, with_layout
from toolkit.geometry.shard_plan import AXES, ShardPlan
from toolkit.models.autoencoders.borrowed import borrowed
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.sharding import Sharding, sharding_of
from toolkit.runs.device import synchronise
from toolkit.runs.trace import NO_LABEL, Event, Kind, Label, Recorder, clock


def run_shards(vae: Any, x: Tensor, plan: ShardPlan, call: ModelCall, rank: Rank) -> Tensor | None:
    """Make a model's call on the shards of ``plan``; every rank of the group calls it.

    Args:
        vae: a diffusers autoencoder.
        x: the whole input, on every rank.
        plan: the shards.
        call: which of the model's calls.
        rank: this process, and what it reports to.

    Returns:
        The output on the plan's root, None on the other ranks.

    Raises:
        NotExact: where an operation cannot be sharded exactly; it names operation and module.
        ModelError: where that is known of the class.
        PlanError: where a shard would be too thin.
    """
    sharding = sharding_of(vae, call)
    parts = sharding.parts(plan, tuple(x.shape))
    if rank.member.rank >= plan.ranks:
        return None
    device = next(vae.parameters()).device
    exchange = Exchange(rank.member, rank.failure, rank.trace, device)
    shard = Shard(plan, exchange, rank.convolutions, vae, call.options.seed is not None)
    before, begin = len(rank.trace.events), clock() - rank.trace.origin
    try:
        with borrowed(vae):
            output = compute(vae, x, call, shard, parts, sharding)
            synchronise(device)
            result = _bring_together(shard, output)
            exchange.flush()
    finally:
        exchange.close()
    _fill_trace(rank.trace, before, begin)
    return result


def compute(
    vae: Any,
    x: Tensor,
    call: ModelCall,
    shard: Shard,
    parts: dict[str, tuple[int, ...]],
    sharding: Sharding,
) -> Tensor:
    """The model's own code on this rank's part of an input; returns its part of the output, laid.

    Args:
        vae: the model, borrowed.
        x: the whole input.
        call: which of the model's calls.
        shard: this rank's shard.
        parts: rows of each rank's part, along each axis.
        sharding: what the class needs for it.
    """
    device = next(vae.parameters()).device
    if shard.plan.borders == "recompute":
        with sharding.prepared(vae):
            return compute_alone(vae, x.to(device), call, shard, parts, sharding.border_module)
    local = cut(shard, x, parts).to(device)
    with sharding.prepared(vae), ShardMode(shard, call.options.rules):
        output = call(vae, with_layout(local, _layout(shard, local, parts)))
    if not layout_of(output):
        raise shard.refuse(type(vae).__name__, "its output has lost its strips", output)
    return output


def _layout(shard: Shard, local: Tensor, parts: dict[str, tuple[int, ...]]) -> Layout:
    """The strips of the input: of every axis that is divided; of h for a plan of one shard."""
    strips = [
        Strip(axis, local.ndim - len(AXES) + place, 1, parts[axis])
        for place, axis in enumerate(AXES)
        if len(parts[axis]) > 1 or (axis == "h" and shard.plan.ranks == 1)
    ]
    shard.note(local, strips)
    return tuple(strips)


def cut(shard: Shard, x: Tensor, parts: dict[str, tuple[int, ...]]) -> Tensor:
    """This rank's part of the input, in memory of its own."""
    for place, axis in enumerate(AXES):
        dim, index = x.ndim - len(AXES) + place, shard.index[axis]
        x = x.narrow(dim, sum(parts[axis][:index]), parts[axis][index])
    return x.clone(memory_format=torch.contiguous_format)


def _bring_together(shard: Shard, output: Tensor) -> Tensor | None:
    """All parts of the output, on the root; shapes follow from the strips."""
    layout, root, me = layout_of(output), shard.plan.root, shard.exchange.member.rank
    for strip in layout:
        if strip.inner != 1 or strip.lo or strip.hi or output.shape[strip.dim] != shard.rows(strip):
            raise shard.refuse("the output", f"its {strip.axis} is not a dim of its own", output)
    if me != root:
        shard.exchange.send(output.contiguous(), root, _part(me))
        return None
    shape = list(output.shape)
    for strip in layout:
        shape[strip.dim] = strip.total
    canvas = output.new_empty(shape)
    _place(shard, canvas, layout, me).copy_(output)
    del output
    for rank in range(shard.plan.ranks):
        if rank != me:
            part = _place(shard, canvas, layout, rank)
            message = shard.exchange.receive(tuple(part.shape), canvas.dtype, rank, _part(rank))
            part.copy_(shard.exchange.take(message))
    return canvas


def _part(rank: int) -> Label:
    """The label of a rank's part of the output; of its events, only the last one has it."""
    return Label(tile=rank, purpose="shard")


def _place(shard: Shard, canvas: Tensor, layout: Layout, rank: int) -> Tensor:
    """The view of the output that a rank's part fills."""
    place = shard.plan.position(rank)
    for strip in layout:
        own = strip.own(place[strip.axis])
        canvas = canvas.narrow(strip.dim, own.start, len(own))
    return canvas


def _fill_trace(trace: Recorder, before: int, begin: float) -> None:
    """Note as computing what the messages of this call have left of its time."""
    gaps, at = [], begin
    for event in sorted(trace.events[before:], key=lambda one: one.start):
        if event.start > at:
            gaps.append((at, event.start))
        at = max(at, event.end)
    gaps.append((at, clock() - trace.origin))
    for place, (start, end) in enumerate(gaps, start=1):
        label = _part(trace.rank) if place == len(gaps) else NO_LABEL
        trace.add(Event(trace.rank, Kind.SHARD, label, start, end))
