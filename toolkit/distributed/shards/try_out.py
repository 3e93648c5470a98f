"""Trying a model out on shards, once, before it is trusted: for models with code that nobody has looked at."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.shards.announced import RankOnTrial
from toolkit.errors import NotExact
from toolkit.geometry.shard_plan import AXES, LEAST, ShardPlan
from toolkit.models.autoencoders.added_code import added_code
from toolkit.models.autoencoders.borrowed import borrowed
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.tiling import spatial_ratio
from toolkit.numerics.convolution import convolution_kernels
from toolkit.runs.precision import Precision
from toolkit.runs.trace import Label, Recorder

OnShards = Callable[[Any, Tensor, ShardPlan, ModelCall, Rank], Tensor | None]

LABEL = Label(purpose="trial")

Found = dict[str, object]

_trusted: weakref.WeakKeyDictionary[nn.Module, dict[tuple[object, ...], Found]] = weakref.WeakKeyDictionary()
"""What this process has found to be exact: a model is tried out once, until another object takes its place."""


def try_out(vae: Any, x: Tensor, plan: ShardPlan, call: ModelCall, rank: Rank, *, on_shards: OnShards) -> None:
    """Compute a few cells by shards and by the model's own call, and refuse the model where they differ.

    Nothing is done if no rank's model has code of its own, nor in a rehearsal, whose tensors have no values. The trace
    says in ``notes`` what was found.

    Args:
        vae: A diffusers autoencoder.
        x: The input of the call that is to be made.
        plan: Its shards.
        call: The model call to make.
        rank: This process.
        on_shards: Makes a call on shards.

    Raises:
        NotExact: On all ranks, if the error is larger than rounding, or the model's own call could not be made.
    """
    if rank.transport is not None or rank.member.rank >= plan.ranks:
        return
    found = added_code(vae)
    key = (plan, call.direction, x.dtype, call.options.autocast, tuple(call.options.arguments))
    trusted = _trusted.setdefault(vae, {})
    quiet = replace(rank, trace=Recorder(rank.trace.rank, rank.trace.origin))
    # One rank's model alone may have a hook, as for a print, and ranks may remember different things if one of them
    # failed at the wrong moment: so they agree.
    if _largest(quiet, plan, float(found is not None and key not in trusted), vae):
        found = found or "another rank's model has code of its own"
        trusted[key] = _tried(vae, x, plan, call, quiet, on_shards=on_shards, found=found)
    if key in trusted:
        rank.trace.notes["tried out on shards"] = trusted[key]


def _tried(
    vae: Any, x: Tensor, plan: ShardPlan, call: ModelCall, rank: Rank, *, on_shards: OnShards, found: str
) -> Found:
    """Try a model out; returns what the record says of it."""
    small = _small(x, vae, plan, call)
    own_call = replace(call, options=replace(call.options, seed=0))
    sharded = on_shards(vae, small, plan, own_call, RankOnTrial.like(rank))
    error = 0.0 if sharded is None else _error(sharded, vae, small, own_call, rank)
    error = _largest(rank, plan, error, vae)
    weight = next(vae.parameters())
    bound = Precision.of(weight.dtype, weight.device.type).rounding
    if not error <= bound:
        raise NotExact(
            f"{type(vae).__name__} by {plan!r} is not the model's own {call.direction}: {found}, and for an input of "
            f"{tuple(small.shape)} the relative error is {error:.1e}, where rounding explains {bound:.0e}. Code that "
            "reads the size of a map sees the shard's. Use tiles, or the model's own call."
        )
    return {"because": found, "input": list(small.shape), "relative error": error, "bound": bound}


def _small(x: Tensor, vae: Any, plan: ShardPlan, call: ModelCall) -> Tensor:
    """Noise on a slope, as few rows and columns as the plan allows and not all shards alike; the rest as in ``x``."""
    unit = 1 if call.direction == Direction.DECODE else spatial_ratio(vae)
    rows, columns = (
        min((LEAST * plan.divisions[axis] + 1) * unit, size) for axis, size in zip(AXES, x.shape[-2:], strict=True)
    )
    return noise_on_a_slope((*x.shape[:-2], rows, columns), torch.Generator().manual_seed(0)).to(x.dtype)


def noise_on_a_slope(shape: tuple[int, ...], noise: torch.Generator) -> Tensor:
    """An input whose brightness rises along h, which norms notice."""
    return torch.randn(shape, generator=noise) * 0.3 + torch.linspace(-1, 1, shape[-2])[:, None]


def relative_error(output: Tensor, own: Tensor) -> float:
    """The largest difference to the model's own output, relative to its largest value.

    Example:
        >>> relative_error(torch.tensor([1.0, 2.5]), torch.tensor([1.0, 2.0]))
        0.25
    """
    if output.shape != own.shape:
        return float("inf")
    return float((output.double() - own.double()).abs().max() / own.double().abs().max())


def _error(sharded: Tensor, vae: Any, small: Tensor, call: ModelCall, rank: Rank) -> float:
    """The relative error of an output of shards."""
    try:
        with borrowed(vae), convolution_kernels(rank.convolutions):
            own = call(vae, small.to(sharded.device))
    except Exception as error:
        raise NotExact(
            f"{type(vae).__name__}: its own {call.direction} of an input of {tuple(small.shape)}, by which its shards "
            f"were to be checked, raised {type(error).__name__}: {error}. Use tiles, or the model's own call."
        ) from error
    return relative_error(sharded, own)


def _largest(rank: Rank, plan: ShardPlan, value: float, vae: Any) -> float:
    """The largest value of all ranks of the plan, on each of them; infinity if one is not a number."""
    if plan.ranks == 1:
        return value
    exchange, root = rank.exchange(next(vae.parameters()).device), plan.root
    mine = torch.tensor([value], dtype=torch.float64).nan_to_num(float("inf"))
    others = [other for other in range(plan.ranks) if other != root]
    try:
        if rank.member.rank != root:
            exchange.send(mine, root, LABEL)
            result = exchange.take(exchange.receive((1,), torch.float64, root, LABEL))
        else:
            messages = [exchange.receive((1,), torch.float64, other, LABEL) for other in others]
            result = torch.stack([exchange.take(one).cpu() for one in messages] + [mine]).amax(0)
            for other in others:
                exchange.send(result, other, LABEL)
        exchange.flush()
    finally:
        exchange.close()
    return float(result)
