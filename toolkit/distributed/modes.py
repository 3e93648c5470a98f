"""The modes of a decode or encode, by the kind of its plan: what each checks before it runs, and how it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.shards.run_shards import run_shards
from toolkit.distributed.shards.try_out import try_out
from toolkit.distributed.tiles.norm_passes import check_norm_passes
from toolkit.distributed.tiles.run_tiles import run_tiles
from toolkit.distributed.tiles.streaming import Stream, check_stream
from toolkit.errors import PlanError
from toolkit.geometry.plan import Plan, PlanKind, WholeCall
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.tile_plan import TilePlan
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.sharding import sharding_of
from toolkit.models.autoencoders.tile_coder import TileCoder
from toolkit.models.protocols import Autoencoder
from toolkit.numerics.convolution import convolution_kernels
from toolkit.runs.device import synchronise
from toolkit.runs.trace import Kind, Label


@dataclass(frozen=True, slots=True)
class Fit:
    """How a plan fits a model's call on an input: what is known of the output before anything runs.

    Attributes:
        ratio: Cells of the output per latent cell, along each axis that the plan divides.
        shape: The shape of the output; empty where only the run tells.
        notes: What the record should say of the model and the input.
    """

    ratio: Mapping[str, int] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    notes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to compute a decode or encode.

    Attributes:
        fit: Called as ``fit(vae, shape, plan, call)`` before anything runs; raises where the plan cannot work.
        run: Called as ``run(vae, x, plan, call, rank, stream)`` by every rank of the plan; returns the output on the
            plan's output rank, unless it was streamed, and None on the other ranks.
    """

    fit: Callable[[Any, tuple[int, ...], Any, ModelCall], Fit]
    run: Callable[[Any, Tensor, Any, ModelCall, Rank, Stream | None], Tensor | None]


def mode_of(plan: Plan) -> Mode:
    """The mode that runs a plan.

    Raises:
        PlanError: For a plan of stages, which divides transformers, not autoencoders.
    """
    if plan.kind not in MODES:
        raise PlanError(
            f"plan is a {type(plan).__name__}, which divides a transformer: give a TilePlan, a ShardPlan, or None for "
            "the model's own call."
        )
    return MODES[plan.kind]


def fit(vae: Autoencoder, shape: tuple[int, ...], *, plan: Plan, call: ModelCall, stream: bool = False) -> Fit:
    """Check that a plan and its options fit a model's call on an input; nothing runs.

    Args:
        vae: A diffusers autoencoder.
        shape: The shape of the input.
        plan: How the call is divided.
        call: The model call to make.
        stream: Whether the output is to be handed over in bands.

    Raises:
        PlanError: If the plan does not fit the input, or an option does not fit the plan.
        ModelError: If the mode is not known to be right for the class.
    """
    mode = mode_of(plan)
    check_norm_passes(call, plan)
    if stream:
        check_stream(plan)
    return mode.fit(vae, shape, plan, call)


def _fit_tiles(vae: Autoencoder, shape: tuple[int, ...], plan: TilePlan, call: ModelCall) -> Fit:
    coder = TileCoder.of(vae, shape, plan.grid, call, plan.blend)
    return Fit(coder.ratio, coder.shape)


def _fit_shards(vae: Autoencoder, shape: tuple[int, ...], plan: ShardPlan, call: ModelCall) -> Fit:
    return Fit(sharding_of(vae, call).check(plan, shape))


def _fit_whole(vae: Autoencoder, shape: tuple[int, ...], plan: WholeCall, call: ModelCall) -> Fit:
    return Fit()


def _run_tiles(
    vae: Autoencoder, x: Tensor, plan: TilePlan, call: ModelCall, rank: Rank, stream: Stream | None
) -> Tensor | None:
    with convolution_kernels(rank.convolutions):
        return run_tiles(vae, x, plan=plan, call=call, rank=rank, stream=stream)


def _run_shards(
    vae: Autoencoder, x: Tensor, plan: ShardPlan, call: ModelCall, rank: Rank, stream: Stream | None
) -> Tensor | None:
    try_out(vae, x, plan, call, rank, on_shards=_on_shards)
    return _on_shards(vae, x, plan, call, rank)


def _on_shards(vae: Autoencoder, x: Tensor, plan: ShardPlan, call: ModelCall, rank: Rank) -> Tensor | None:
    # The rules choose the kernels themselves, convolution by convolution: see numerics/convolution.py.
    return run_shards(vae, x, plan=plan, call=call, rank=rank)


def _run_whole(
    vae: Autoencoder, x: Tensor, plan: WholeCall, call: ModelCall, rank: Rank, stream: Stream | None
) -> Tensor | None:
    if rank.member.rank != plan.output_rank:
        return None
    device = next(vae.parameters()).device
    label = Label(text=type(vae).__name__)
    with convolution_kernels(rank.convolutions), torch.no_grad(), rank.trace(Kind.WHOLE, label):
        output = call(vae, x.to(device))
        synchronise(device)
    return output


MODES: Mapping[PlanKind, Mode] = {
    PlanKind.WHOLE: Mode(_fit_whole, _run_whole),
    PlanKind.TILES: Mode(_fit_tiles, _run_tiles),
    PlanKind.SHARDS: Mode(_fit_shards, _run_shards),
}
"""The mode of each kind of plan that divides an autoencoder's call."""
