"""Exact shards without messages (``borders="recompute"``): each rank also computes the rows that later layers consume.

Up to the last layer that sees the whole map (attention, GroupNorm), every rank computes the whole map. From there on a
rank computes its own rows and a *margin* of rows beyond them. Each padded 3 x 3 convolution consumes one row of the
margin where it would otherwise need a neighbour's; the margin is as wide as all remaining layers together need. With
three convolutions and an upsampling by 2, seen at the lower border of a rank (``o`` own rows, ``m`` margin):

    latent       o o m m           a margin of 2 latent rows
    conv         o o m             1 row left: the next one would depend on a row that is not there
    upsample     oo oo mm          2 rows left
    conv, conv   oo oo             0 rows left, and the rank's own rows are exact

How wide the margin must be follows from the model's own code. So the code is run once on a map of a few cells, with an
absurdly wide margin: how much of it is left at the end says how much was consumed.
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
from toolkit.distributed.shards.strip import Strip, layout_of, part_of, with_layout
from toolkit.geometry.shard_plan import AXES
from toolkit.models.autoencoders.model_call import ModelCall

_PLENTY = 2**40
"""A margin wider than any map. It is only counted, never computed: a margin ends where the map does."""

_PROBE = 2
"""Cells along each axis of the latent that the margin is measured on."""


def compute_alone(
    vae: Any,
    latent: Tensor,
    *,
    call: ModelCall,
    shard: Shard,
    parts: dict[str, tuple[int, ...]],
    entry: str | None,
) -> Tensor:
    """Compute this rank's part of the output without any message.

    Args:
        vae: The model, borrowed.
        latent: The whole latent.
        call: The decode to make.
        shard: This rank's shard.
        parts: Number of rows of each rank's part of the latent, along each axis.
        entry: The module of the decoder from which on shards suffice; None: from the beginning.
    """
    small = latent[..., :_PROBE, :_PROBE]
    whole: dict[str, tuple[int, ...]] = {"h": (small.shape[-2],), "w": (small.shape[-1],)}
    # The probe runs as the only rank of a plan of one shard: its part is the whole small map.
    first = dict.fromkeys(AXES, 0)
    alone = Shard(shard.plan, shard.exchange, shard.convolutions, shard.model, shard.seeded, index=first)
    plenty = dict.fromkeys(AXES, _PLENTY)
    probe = _compute(vae, small, call=call, shard=alone, parts=whole, margins=plenty, entry=entry)
    margins = {}
    for strip in layout_of(probe):
        ratio = strip.total // whole[strip.axis][0]
        # The margin grew by `ratio` on the way through the model, less what was consumed. Rounded up to whole cells.
        margins[strip.axis] = -((strip.margin - ratio * _PLENTY) // ratio)
    output = _compute(vae, latent, call=call, shard=shard, parts=parts, margins=margins, entry=entry)
    return crop_to(shard, output, dict.fromkeys(AXES, 0))  # type: ignore[no-any-return]


def _compute(
    vae: Any,
    latent: Tensor,
    *,
    call: ModelCall,
    shard: Shard,
    parts: dict[str, tuple[int, ...]],
    margins: dict[str, int],
    entry: str | None,
) -> Tensor:
    """Run the decode with given margins; returns this rank's part of the output, with what is left of its margin."""
    if entry is None:
        latent = _enter(shard, latent, parts, margins=margins)
    entering = nullcontext() if entry is None else _from(vae.decoder, entry, shard=shard, parts=parts, margins=margins)
    with entering, ShardMode(shard, call.options.rules):
        output = call(vae, latent)
    if not layout_of(output):
        raise shard.refuse(type(vae).__name__, "its output has lost its strips", output)
    return output


def _enter(shard: Shard, x: Tensor, parts: dict[str, tuple[int, ...]], *, margins: dict[str, int]) -> Tensor:
    """Cut a whole map to this rank's shard and its margin."""
    strips = []
    for place, axis in enumerate(AXES):
        # An axis that is not divided stays whole; in the probe, it is measured all the same.
        if len(parts[axis]) == 1 and margins[axis] != _PLENTY:
            continue
        strips.append(Strip(axis, x.ndim - len(AXES) + place, 1, parts[axis], margin=margins[axis]))
    part = part_of(x, tuple(strips), shard.index).clone(memory_format=torch.contiguous_format)
    shard.record_map(part, strips)
    return with_layout(part, tuple(strips))


@contextmanager
def _from(
    decoder: nn.Module, entry: str, *, shard: Shard, parts: dict[str, tuple[int, ...]], margins: dict[str, int]
) -> Iterator[None]:
    """Let the decoder compute whole maps up to the module ``entry``, and shards from there to its end."""

    def enter(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        shard.whole = False
        return _enter(shard, args[0], parts, margins=margins), *args[1:]

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        # A video decoder is called once per group of frames: the next call begins with whole maps again.
        shard.whole = True

    shard.whole = True
    handles = [decoder.get_submodule(entry).register_forward_pre_hook(enter), decoder.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
