"""Tiles apart from their merge: some of them computed, without a word to another rank; or all of them merged.

Together the two make the output of :func:`~toolkit.distributed.tiles.run_tiles.run_tiles`, bit for bit, and in between
nothing is lost with a rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.tiles.run_tiles import run_tiles
from toolkit.geometry.assignment import Assignment
from toolkit.geometry.tile_plan import TilePlan
from toolkit.models.autoencoders.borrowed import borrowed
from toolkit.models.autoencoders.mixed_dtypes import mixture_named
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.tile_coder import TileCoder
from toolkit.models.protocols import Autoencoder
from toolkit.runs.device import synchronise
from toolkit.runs.trace import Kind, Label, Recorder


def compute_raw(
    vae: Autoencoder,
    x: Tensor,
    *,
    plan: TilePlan,
    call: ModelCall,
    tiles: Iterable[int],
    trace: Recorder,
    take: Callable[[Tensor, int], None],
) -> None:
    """Compute some tiles of a plan.

    Args:
        vae: A diffusers autoencoder.
        x: The input of the call.
        plan: The plan.
        call: The model call to make.
        tiles: The tiles to compute, by index.
        trace: Records what this process does.
        take: Given each raw tile and its index, as soon as it is computed.
    """
    coder = TileCoder.of(vae, tuple(x.shape), plan.grid, call, plan.blend)
    with borrowed(vae, plan.grid), mixture_named(vae):
        for index in tiles:
            with trace(Kind.DECODE, Label(tile=index)):
                raw = coder.compute_whole(x) if coder.whole else coder(x, plan.grid.tiles[index])
                synchronise(coder.device)
            take(raw, index)


def merge_raw(
    vae: Autoencoder, x: Tensor, *, plan: TilePlan, call: ModelCall, raw: Mapping[int, Tensor], rank: Rank
) -> Tensor:
    """Merge all raw tiles of a plan on this rank, as a run would have that has computed them here.

    Args:
        vae: The model that has computed them.
        x: The input of the call.
        plan: The plan.
        call: The model call.
        raw: The raw tiles by index.
        rank: This process, on its own.
    """
    alone = TilePlan(plan.grid, plan.blend, Assignment.contiguous(plan.grid, 1))
    output = run_tiles(vae, x, plan=alone, call=call, rank=rank, computed=raw)
    assert output is not None
    return output
