"""A model's own tiling, read in latent units from the attributes that its ``tiled_decode`` and ``tiled_encode`` use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.grid import TileGrid
from toolkit.geometry.span import Span, strided_axis
from toolkit.models.autoencoders.autoencoder_table import recipe_of
from toolkit.models.autoencoders.direction import Direction, DirectionName
from toolkit.models.autoencoders.frames import temporal_ratio
from toolkit.models.autoencoders.given_shape import given_shape
from toolkit.models.autoencoders.recipe import Recipe
from toolkit.models.autoencoders.stated import stated
from toolkit.models.module_check import check_is_module
from toolkit.models.protocols import Autoencoder

_SIDES = {"h": "height", "w": "width"}


@dataclass(frozen=True, slots=True)
class AxisTiling:
    """How a class tiles one axis of a latent.

    Attributes:
        tile: Extent of a tile, in latent units.
        stride: Distance of tile starts, in latent units.
        threshold: The largest extent, in latent units, that is not tiled.
    """

    tile: int
    stride: int
    threshold: int


def input_ratio(vae: Autoencoder, direction: DirectionName) -> int:
    """Return the cells of a call's input per latent cell, along h and w."""
    return 1 if direction == Direction.DECODE else spatial_ratio(vae)


def spatial_ratio(vae: Autoencoder) -> int:
    """Return the sample pixels per latent cell, along h and w.

    Raises:
        ModelError: If the class states it in no known way.
    """
    ratio = stated(vae, "spatial_compression_ratio")
    if ratio is not None:
        return int(ratio)
    # Every block but the first halves the map.
    blocks = stated(vae, "block_out_channels", "encoder_block_out_channels", "down_block_out_channels", "ch_mult")
    if blocks is not None:
        return int(2 ** (len(blocks) - 1))
    raise ModelError(
        f"{type(vae).__name__} has neither spatial_compression_ratio nor config.block_out_channels: "
        "its compression ratio cannot be read. Set vae.spatial_compression_ratio."
    )


def read_tiling(vae: Autoencoder, direction: DirectionName = "decode") -> dict[str, AxisTiling]:
    """Read how the class itself would tile ``h`` and ``w``, from its own attributes.

    diffusers has three families of attributes: a tile and a stride in sample units; a tile in both units and an overlap
    factor; the same per axis. (What its code names ``overlap_size`` is the stride.)

    Raises:
        ModelError: If the class has none of these.
        PlanError: If its values do not fall on whole latent cells; it would return another size.
    """
    return {axis: _read_axis(vae, side, direction=direction) for axis, side in _SIDES.items()}


def diffusers_grid(vae: Autoencoder, latent_shape: Sequence[int], direction: DirectionName = "decode") -> TileGrid:
    """Make the tiles that ``vae.enable_tiling()`` makes ``vae.decode`` or ``vae.encode`` compute.

    The class's own threshold counts: a latent no larger than one tile along both axes is one tile. For AutoencoderKL
    that tile is as large as the ``sample_size`` it was made with; a model of 1024 pixels is not tiled at 1024x1024. If
    the class tiles in time too (HunyuanVideo does by default), the grid has an axis ``t``.

    Wan 2.2 and its like measure the tiles of ``encode`` in patches: there a tile is larger than that of ``decode``.

    Args:
        vae: A diffusers autoencoder; it is read, nothing runs.
        latent_shape: Shape of the latent in either direction, ``b c h w`` or ``b c t h w``.
        direction: ``"decode"`` or ``"encode"``.

    Raises:
        ModelError: If the class has no tiling, or none that a result could be equal to.
        PlanError: If its tile and overlap do not fall on whole latent cells.

    Example:
        >>> from diffusers import AutoencoderKLWan
        >>> vae = AutoencoderKLWan(base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
        >>> diffusers_grid(vae, (1, 4, 21, 60, 104))
        TileGrid(h 60 in 3 x 12..32, w 104 in 5 x 8..32; 15 tiles, 1.66x the work)
    """
    check_is_module("vae", vae)
    given_shape("latent_shape", latent_shape)
    recipe = recipe_of(vae)
    if direction not in recipe.mirrors:
        raise ModelError(
            f"{type(vae).__name__} has no {direction} in tiles to be equal to: {recipe.unlike}. "
            "Make a grid of your own with TileGrid.cover."
        )
    extent = {"h": int(latent_shape[-2]), "w": int(latent_shape[-1])}
    tiling = read_tiling(vae, direction)
    whole = not recipe.always_tiles and all(extent[axis] <= tiling[axis].threshold for axis in extent)
    rows = {
        axis: (Span(0, size),) if whole else strided_axis(size, tiling[axis].tile, tiling[axis].stride)
        for axis, size in extent.items()
    }
    time = _time_row(vae, recipe, direction=direction, latent_shape=latent_shape)
    return TileGrid(("t", *rows) if time else tuple(rows), (*([time] if time else []), *rows.values()))


def _read_axis(vae: Any, side: str, *, direction: DirectionName) -> AxisTiling:
    """Read one axis, and refuse values that fall between latent cells.

    A class cuts its input by one tile and stride, and merges its output by another pair of numbers. They must describe
    the same tiles, or its result has another size than its untiled one.
    """
    ratio = spatial_ratio(vae)
    unit = ratio // _encode_patch(vae, direction)
    if hasattr(vae, f"tile_sample_stride_{side}"):
        # First family: both in sample units.
        sample, sample_stride = getattr(vae, f"tile_sample_min_{side}"), getattr(vae, f"tile_sample_stride_{side}")
        latent, stride = sample // unit, sample_stride // unit
    else:
        # Second and third family: with and without the side in the attributes' names.
        latent = stated(vae, f"tile_latent_min_{side}", "tile_latent_min_size")
        sample = stated(vae, f"tile_sample_min_{side}", "tile_sample_min_size")
        factor = stated(vae, f"tile_overlap_factor_{side}", "tile_overlap_factor")
        if latent is None or sample is None or factor is None:
            raise ModelError(
                f"{type(vae).__name__} has no tiling attributes for {side}: make a grid of your own with "
                "TileGrid.cover."
            )
        # The class rounds twice: the stride of its input down, and the overlap of its output down. So the input's
        # stride is int(size * (1 - factor)), and the output's is size - int(size * factor).
        if direction == Direction.DECODE:
            stride, sample_stride = int(latent * (1 - factor)), sample - int(sample * factor)
        else:
            stride, sample_stride = latent - int(latent * factor), int(sample * (1 - factor))
    if latent * unit != sample or stride * unit != sample_stride:
        raise PlanError(
            f"{type(vae).__name__} tiles {side} by {latent} latent cells with stride {stride}, but by {sample} pixels "
            f"with stride {sample_stride}, at {unit} pixels per cell: its tiled {direction} returns another size than "
            f"the {'sample' if direction == Direction.DECODE else 'latent'}'s. Choose a tile and an overlap of whole "
            "latent cells."
        )
    threshold = sample // ratio
    if direction == Direction.DECODE:
        threshold = stated(vae, f"tile_latent_min_{side}", "tile_latent_min_size") or latent
    return AxisTiling(latent, stride, threshold)


def _encode_patch(vae: Any, direction: DirectionName) -> int:
    """Side of the patches in which a class measures the tiles of encode."""
    patch = recipe_of(vae).patch
    return (direction == Direction.ENCODE and patch and getattr(vae.config, patch)) or 1


def _time_row(
    vae: Any, recipe: Recipe, *, direction: DirectionName, latent_shape: Sequence[int]
) -> tuple[Span, ...] | None:
    """What each tile in time contributes. Every one but the first is computed with one more latent frame, before it.

    A class cuts tiles of ``tile + 1`` latent frames at every ``stride``, and drops the first frame of what a later one
    gives:

        tile 0   0 1 2 3 4            contributes 0..4
        tile 1       2 3 4 5 6        contributes 3..6 (tile 4, stride 2)
    """
    if recipe.framewise is None or not getattr(vae, recipe.framewise[direction]):
        return None
    frames, ratio = int(latent_shape[-3]), temporal_ratio(vae)
    sample, sample_stride = vae.tile_sample_min_num_frames, vae.tile_sample_stride_num_frames
    if sample % ratio or sample_stride % ratio:
        raise PlanError(
            f"{type(vae).__name__} tiles time by {sample} frames with stride {sample_stride}: both must be multiples "
            f"of its ratio {ratio}, or its own tiling does not return all frames."
        )
    tile, stride = sample // ratio, sample_stride // ratio
    if frames <= tile:
        return None
    later = (Span(start + 1, min(start + tile + 1, frames)) for start in range(stride, frames - 1, stride))
    return (Span(0, tile + 1), *later)
