"""Grids whose tiles overlap by the whole receptive field: their tiles are cut instead of blended, and are exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.grid import PerAxis, TileGrid
from toolkit.models.autoencoders.direction import Direction, DirectionName
from toolkit.models.autoencoders.given_shape import given_shape
from toolkit.models.autoencoders.receptive import ReceptiveField, receptive_field
from toolkit.models.autoencoders.tiling import spatial_ratio
from toolkit.models.module_check import check_is_module
from toolkit.models.protocols import Autoencoder


def exact_grid(
    vae: Autoencoder,
    shape: Sequence[int],
    tile: PerAxis,
    *,
    direction: DirectionName = "decode",
    arguments: Mapping[str, Any] | None = None,
) -> TileGrid:
    """Make a grid whose tiles, merged by ``Blend.crop()``, equal the model's own call on the whole, to rounding.

    Every cell that a tile keeps is at least the receptive field away from the tile's inner borders. The receptive field
    is measured on the model (see :func:`receptive_field`), which runs it on small inputs.

    Args:
        vae: A diffusers autoencoder; it is left as it was found.
        shape: Shape of the call's input: a latent for decode, a sample for encode.
        tile: Largest size of a tile, in latent cells, for both axes or per axis.
        direction: Which of the model's calls.
        arguments: Further arguments of that call.

    Raises:
        ModelError: If an operation of the class sees the whole map, or noise is drawn.
        PlanError: If a tile has no room for cells of its own between its two halos.

    Example:
        >>> from toolkit.models.autoencoders.census import specimen
        >>> exact_grid(specimen("AutoencoderTiny").build(), (1, 4, 64, 96), tile=64)
        TileGrid(h 64 in 1 x 64, w 96 in 3 x 58; 3 tiles, 1.81x the work)
    """
    check_is_module("vae", vae)
    shape = given_shape("shape", shape)
    ratio = 1 if direction == Direction.DECODE else spatial_ratio(vae)
    extent = {"h": shape[-2] // ratio, "w": shape[-1] // ratio}
    return grid_beyond(receptive_field(vae, direction, arguments, shape), extent, tile=tile, name=type(vae).__name__)


def grid_beyond(
    field: ReceptiveField, extent: Mapping[str, int], *, tile: PerAxis, name: str = "the model"
) -> TileGrid:
    """Make the grid for a receptive field that is known.

    Args:
        field: The receptive field.
        extent: Size of each axis, in latent cells.
        tile: Largest size of a tile, for both axes or per axis.
        name: The model's name, for messages.

    Raises:
        ModelError: If cells depend on more than the halo.
        PlanError: If a tile is too small.
    """
    if not field.local:
        raise ModelError(
            f"{name}: {', and '.join(field.obstacles)} in its {field.direction}, so no overlap makes tiles exact. "
            "Use a ShardPlan, or tiles that blend."
        )
    tiles = dict(tile) if isinstance(tile, Mapping) else dict.fromkeys(extent, tile)
    overlap = {axis: _overlap(field, axis, extent=extent[axis], tile=tiles[axis], name=name) for axis in extent}
    return TileGrid.cover(extent, tiles, overlap)


def _overlap(field: ReceptiveField, axis: str, *, extent: int, tile: int, name: str) -> int:
    if extent <= tile:
        return 0
    # Blend.crop() cuts in the middle of an overlap, which lies between two cells only if the overlap is even. A halo
    # on either side of the cut is even, and is what both tiles need.
    halo = field.halo[axis]
    overlap = 2 * halo.widest
    if tile <= overlap:
        raise PlanError(
            f"tile={tile} along {axis}: one cell of {name}'s {field.direction} depends on {halo.before} cells before "
            f"and {halo.after} after it, so exact tiles overlap by {overlap} and must be larger than that; "
            f"{2 * overlap} would compute about twice the work. Use a larger tile, a ShardPlan, or tiles that blend."
        )
    return overlap
