"""How much tiles of a plan differ from the whole call: measured on a part of the user's own input."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.decoding import run_as
from toolkit.geometry.assignment import Assignment
from toolkit.geometry.grid import TileGrid
from toolkit.geometry.plan import WHOLE
from toolkit.geometry.shard_plan import AXES
from toolkit.geometry.tile_plan import TilePlan
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.tiling import input_ratio
from toolkit.models.protocols import Autoencoder


def tile_error(vae: Autoencoder, x: Tensor, plan: TilePlan, call: ModelCall) -> float:
    """The largest difference of tiles from the model's own call, over the call's largest value.

    A part of the input is enough: two tiles along each axis, from its middle, where a seam is.

    Args:
        vae: A diffusers autoencoder.
        x: The input of the call.
        plan: The tiles.
        call: The model call to make.

    Example:
        >>> from toolkit.geometry import Blend
        >>> from toolkit.models import demo
        >>> latent = demo.latents(demo.image_vae(), demo.image()[..., :192, :192])
        >>> def error(overlap):
        ...     grid = TileGrid.cover({"h": 24, "w": 24}, 14, overlap)
        ...     return tile_error(
        ...         demo.image_vae(), latent, TilePlan(grid, Blend.linear(), Assignment.balanced(grid, 1)), ModelCall()
        ...     )
        >>> 0 < error(8) < error(2) < 0.5
        True
    """
    part = _part(vae, x, plan.grid, call)
    extent = _extent(vae, part, call)
    tile = {axis: min(len(row[0]), extent[axis]) for axis, row in zip(plan.grid.axes, plan.grid.rows, strict=True)}
    overlap = {axis: min(_overlap(plan.grid, axis), tile[axis] - 1) for axis in tile}
    grid = TileGrid.cover(extent, tile, overlap)
    tiled = TilePlan(grid, plan.blend, Assignment.balanced(grid, 1))
    whole, parts = (run_as(Rank.alone(), vae, part, way, call) for way in (WHOLE, tiled))
    assert whole is not None
    assert parts is not None
    return float((parts.float() - whole.float()).abs().max() / whole.float().abs().max().clamp(min=1e-12))


def _part(vae: Autoencoder, x: Tensor, grid: TileGrid, call: ModelCall) -> Tensor:
    """The middle of the input, as large as two tiles along each axis of height and width."""
    ratio = input_ratio(vae, call.direction.value)
    device = next(vae.parameters()).device
    for dim, axis in zip((-2, -1), AXES, strict=True):
        cells = x.shape[dim] // ratio
        size = 2 * len(grid.rows[grid.axes.index(axis)][0]) - _overlap(grid, axis)
        size = min(cells, size)
        x = x.narrow(dim, (cells - size) // 2 * ratio, size * ratio)
    return x.to(device).contiguous()


def _extent(vae: Autoencoder, x: Tensor, call: ModelCall) -> Mapping[str, int]:
    ratio = input_ratio(vae, call.direction.value)
    return {"h": x.shape[-2] // ratio, "w": x.shape[-1] // ratio}


def _overlap(grid: TileGrid, axis: str) -> int:
    """The overlap of neighbouring tiles along an axis, in latent cells."""
    row = grid.rows[grid.axes.index(axis)]
    return row[0].stop - row[1].start if len(row) > 1 else 0
