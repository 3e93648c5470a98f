"""One call on shards: cut the input, run the model's own code, bring the parts of the output together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.shards.mode import ShardMode
from toolkit.distributed.shards.recompute import compute_alone
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Layout, Strip, layout_of, part_of, with_layout
from toolkit.geometry.shard_plan import AXES, ShardPlan
from toolkit.models.autoencoders.borrowed import borrowed
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.sharding import Sharding, sharding_of
from toolkit.numerics.memory_format import memory_format_of
from toolkit.runs.device import synchronise
from toolkit.runs.trace import NO_LABEL, Event, Kind, Label, Recorder


def run_shards(vae: Any, x: Tensor, *, plan: ShardPlan, call: ModelCall, rank: Rank) -> Tensor | None:
    """Make a model's call on the shards of a plan; every rank of the group calls this.

    Args:
        vae: A diffusers autoencoder.
        x: The whole input, on every rank.
        plan: The shards.
        call: The model call to make.
        rank: This process.

    Returns:
        The output on the plan's root; None on the other ranks.

    Raises:
        NotExact: If an operation cannot be sharded exactly; names the operation and the module.
        ModelError: If the class is known to have such an operation.
        PlanError: If a shard would be too thin.
    """
    sharding = sharding_of(vae, call)
    parts = sharding.parts(plan, tuple(x.shape))
    if rank.member.rank >= plan.ranks:
        return None
    device = next(vae.parameters()).device
    exchange = rank.exchange(device)
    shard = Shard(plan, exchange, rank.convolutions, vae, call.options.seed is not None)
    before, begin = len(rank.trace.events), rank.trace.now()
    try:
        with borrowed(vae):
            output = compute(vae, x, call=call, shard=shard, parts=parts, sharding=sharding)
            synchronise(device)
            result = _bring_together(shard, output)
            exchange.flush()
    finally:
        exchange.close()
    _fill_trace(rank.trace, before, begin=begin)
    return result


def compute(
    vae: Any, x: Tensor, *, call: ModelCall, shard: Shard, parts: dict[str, tuple[int, ...]], sharding: Sharding
) -> Tensor:
    """Run the model's own code on this rank's part of an input.

    Args:
        vae: The model, borrowed.
        x: The whole input.
        call: The model call to make.
        shard: This rank's shard.
        parts: Number of rows of each rank's part, along each axis.
        sharding: What the class needs to be sharded.

    Returns:
        This rank's part of the output, with its layout.

    Raises:
        NotExact: If an operation cannot be sharded exactly.
    """
    device = next(vae.parameters()).device
    if shard.plan.borders == "recompute":
        with sharding.prepared(vae):
            entry = sharding.border_module
            return compute_alone(vae, x.to(device), call=call, shard=shard, parts=parts, entry=entry)
    layout = _layout(shard, x.ndim, parts)
    # In memory of its own, because a model may write to its input; in the format of the whole, because kernels round by
    # strides.
    local = part_of(x, layout, shard.index).clone(memory_format=memory_format_of(x)).to(device)
    shard.record_map(local, layout)
    with sharding.prepared(vae), ShardMode(shard, call.options.rules):
        output = call(vae, with_layout(local, layout))
    if not layout_of(output):
        raise shard.refuse(type(vae).__name__, "its output has lost its strips", output)
    return output


def _layout(shard: Shard, ndim: int, parts: dict[str, tuple[int, ...]]) -> Layout:
    """The strips of the input: one for every axis that is divided."""
    # A plan of one shard gets a strip of h too: without any strip the rules would not be used at all.
    return tuple(
        Strip(axis, ndim - len(AXES) + place, 1, parts[axis])
        for place, axis in enumerate(AXES)
        if len(parts[axis]) > 1 or (axis == "h" and shard.plan.ranks == 1)
    )


def _bring_together(shard: Shard, output: Tensor) -> Tensor | None:
    """Collect all parts of the output on the root; their shapes follow from the strips."""
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
    canvas = torch.empty(shape, dtype=output.dtype, device=output.device, memory_format=memory_format_of(output))
    part_of(canvas, layout, shard.index).copy_(output)
    # The root's own part is in the canvas now: free its memory before the other parts arrive.
    del output
    for rank in range(shard.plan.ranks):
        if rank != me:
            part = part_of(canvas, layout, shard.plan.position(rank))
            message = shard.exchange.receive(tuple(part.shape), canvas.dtype, rank, _part(rank))
            part.copy_(shard.exchange.take(message))
    return canvas


def _part(rank: int) -> Label:
    """The label of a rank's part of the output."""
    return Label(tile=rank, purpose="shard")


def _fill_trace(trace: Recorder, before: int, *, begin: float) -> None:
    """Record the time between messages as compute time: messages are the only events that a sharded call records.

    Args:
        trace: The trace of this rank.
        before: Number of events that it had before the call.
        begin: When the call began, in seconds since the run began.
    """
    gaps, at = [], begin
    for event in sorted(trace.events[before:], key=lambda one: one.start):
        if event.start > at:
            gaps.append((at, event.start))
        at = max(at, event.end)
    gaps.append((at, trace.now()))
    for place, (start, end) in enumerate(gaps, start=1):
        # Progress bars count labelled events, and each rank is done once: so only its last stretch has a label.
        label = _part(trace.rank) if place == len(gaps) else NO_LABEL
        trace.add(Event(trace.rank, Kind.SHARD, label, start, end))
