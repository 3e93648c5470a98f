"""Exact shards without messages: each rank computes its shard and as many rows beyond it as later layers consume.

Up to the last layer that sees the whole map every rank computes all of it. From there, each padded layer consumes a row
on either side instead of asking for the neighbour's. How many rows that takes is read off a run on a few cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.distributed.shards.halo import crop_to
from toolkit.distributed.shards.mode import ShardMode
from toolkit.distributed.shards.shard import Shard
from toolkit.distributed.shards.strip import Strip, layout_of, with_layout
from toolkit.geometry.shard_plan import AXES
from toolkit.models.autoencoders.model_call import ModelCall

_PLENTY = 2**40
"""More rows than any map has: what is left of them tells how many were consumed."""

_PROBE = 2
"""Cells along each axis of the latent that the rows are counted on."""


def compute_alone(
    vae: Any,
    latent: Tensor,
    call: ModelCall,
    shard: Shard,
    parts: dict[str, tuple[int, ...]],
    entry: str | None,
) -> Tensor:
    """This rank's part of the output, with no message sent.

    Args:
        vae: the model, borrowed.
        latent: the whole latent.
        call: its decode.
        shard: this rank's shard.
        parts: rows of each rank's part of the latent.
        entry: the decoder's module from which on shards suffice; None: from the beginning.
    """
    small = latent[..., :_PROBE, :_PROBE]
    whole: dict[str, tuple[int, ...]] = {"h": (small.shape[-2],), "w": (small.shape[-1],)}
    first = dict.fromkeys(AXES, 0)
    alone = Shard(shard.plan, shard.exchange, shard.convolutions, shard.model, shard.seeded, index=first)
    probe = _compute(vae, small, call, alone, whole, dict.fromkeys(AXES, _PLENTY), entry)
    margins = {}
    for strip in layout_of(probe):
        ratio = strip.total // whole[strip.axis][0]
        margins[strip.axis] = -((strip.margin - ratio * _PLENTY) // ratio)
    output = _compute(vae, latent, call, shard, parts, margins, entry)
    return crop_to(shard, output, dict.fromkeys(AXES, 0))  # type: ignore[no-any-return]


def _compute(
    vae: Any,
    latent: Tensor,
    call: ModelCall,
    shard: Shard,
    parts: dict[str, tuple[int, ...]],
    margins: dict[str, int],
    entry: str | None,
) -> Tensor:
    if entry is None:
        latent = _enter(shard, latent, parts, margins)
    entering = nullcontext() if entry is None else _from(vae.decoder, entry, shard, parts, margins)
    with entering, ShardMode(shard, call.options.rules):
        output = call(vae, latent)
    if not layout_of(output):
        raise shard.refuse(type(vae).__name__, "its output has lost its strips", output)
    return output


def _enter(shard: Shard, x: Tensor, parts: dict[str, tuple[int, ...]], margins: dict[str, int]) -> Tensor:
    """A whole map, cut to this rank's shard and the rows beyond it."""
    strips = []
    for place, axis in enumerate(AXES):
        if len(parts[axis]) == 1 and margins[axis] != _PLENTY:
            continue
        strip = Strip(axis, x.ndim - len(AXES) + place, 1, parts[axis], margin=margins[axis])
        held = strip.held(shard.index[axis])
        x = x.narrow(strip.dim, held.start, len(held))
        strips.append(strip)
    shard.note(x, strips)
    return with_layout(x.clone(memory_format=torch.contiguous_format), tuple(strips))


@contextmanager
def _from(
    decoder: nn.Module, entry: str, shard: Shard, parts: dict[str, tuple[int, ...]], margins: dict[str, int]
) -> Iterator[None]:
    """Let the decoder compute whole maps up to the module ``entry``, and shards from there."""

    def enter(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        shard.whole = False
        return _enter(shard, args[0], parts, margins), *args[1:]

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        shard.whole = True

    shard.whole = True
    handles = [decoder.get_submodule(entry).register_forward_pre_hook(enter), decoder.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
