"""Reading a model's own tiling: the attributes that its ``tiled_decode`` goes by, in latent units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.grid import TileGrid
from toolkit.geometry.span import Span


@dataclass(frozen=True, slots=True)
class AxisTiling:
    """How a class tiles one axis of a latent.

    Attributes:
        tile: extent of a tile, in latent units.
        stride: distance of tile starts, in latent units.
        blend: rows blended at a seam, in sample units.
        keep: rows of a tile that reach the output, in sample units.
    """

    tile: int
    stride: int
    blend: int
    keep: int


def spatial_ratio(vae: Any) -> int:
    """Sample pixels per latent cell, along h and w.

    Raises:
        ModelError: where the class states it in no way known.
    """
    if hasattr(vae, "spatial_compression_ratio"):
        return int(vae.spatial_compression_ratio)
    blocks = getattr(getattr(vae, "config", None), "block_out_channels", None)
    if blocks is None:
        raise ModelError(
            f"{type(vae).__name__} has neither spatial_compression_ratio nor config.block_out_channels: "
            "its compression ratio cannot be read."
        )
    return int(2 ** (len(blocks) - 1))


def read_tiling(vae: Any) -> dict[str, AxisTiling]:
    """The tiling of ``h`` and ``w`` that ``vae.tiled_decode`` would use, from the class's own attributes.

    diffusers has three families of them: a tile and a stride in sample units; a tile in both units and an overlap
    factor; the same per axis. (What its code names ``overlap_size`` is the stride.)

    Raises:
        ModelError: where the class has none of these.
        PlanError: where its values do not fall on whole latent cells; ``tiled_decode`` would return another size.
    """
    ratio = spatial_ratio(vae)
    return {"h": _read_axis(vae, "height", ratio), "w": _read_axis(vae, "width", ratio)}


def diffusers_grid(vae: Any, latent_shape: Sequence[int]) -> TileGrid:
    """The tiles that ``vae.enable_tiling(); vae.decode(latent)`` computes.

    The class's own threshold counts: a latent no larger than one tile along both axes is one tile. For AutoencoderKL
    that tile is as large as the ``sample_size`` it was made with: one of 1024 pixels is not tiled at 1024x1024.

    Args:
        vae: a diffusers autoencoder; it is read, nothing runs.
        latent_shape: ``b c h w`` or ``b c t h w``.

    Raises:
        ModelError: where the class has no tiling attributes.
        PlanError: where its tile and overlap do not fall on whole latent cells.

    Example:
        >>> from diffusers import AutoencoderKLWan
        >>> vae = AutoencoderKLWan(base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
        >>> diffusers_grid(vae, (1, 4, 21, 60, 104))
        TileGrid(h 60 in 3 x 12..32, w 104 in 5 x 8..32; 15 tiles, 1.66x the work)
    """
    if len(latent_shape) not in (4, 5):
        raise PlanError(f"latent_shape={tuple(latent_shape)}: must be b c h w or b c t h w.")
    extent = {"h": int(latent_shape[-2]), "w": int(latent_shape[-1])}
    tiling = read_tiling(vae)
    if all(extent[axis] <= tiling[axis].tile for axis in extent):
        return TileGrid(tuple(extent), tuple((Span(0, size),) for size in extent.values()))
    return TileGrid.strided(
        extent,
        tile={axis: tiling[axis].tile for axis in extent},
        stride={axis: tiling[axis].stride for axis in extent},
    )


def _read_axis(vae: Any, side: str, ratio: int) -> AxisTiling:
    if hasattr(vae, f"tile_sample_stride_{side}"):
        sample, keep = getattr(vae, f"tile_sample_min_{side}"), getattr(vae, f"tile_sample_stride_{side}")
        tiling = AxisTiling(sample // ratio, keep // ratio, sample - keep, keep)
    else:
        latent = _first(vae, f"tile_latent_min_{side}", "tile_latent_min_size")
        sample = _first(vae, f"tile_sample_min_{side}", "tile_sample_min_size")
        factor = _first(vae, f"tile_overlap_factor_{side}", "tile_overlap_factor")
        if latent is None or sample is None or factor is None:
            raise ModelError(
                f"{type(vae).__name__} has no tiling attributes for {side}: lay a grid of your own with TileGrid.cover."
            )
        blend = int(sample * factor)
        tiling = AxisTiling(latent, int(latent * (1 - factor)), blend, sample - blend)
    if (tiling.tile - tiling.stride) * ratio != tiling.blend or tiling.stride * ratio != tiling.keep:
        raise PlanError(
            f"{type(vae).__name__} tiles {side} by {tiling.tile} latent cells with stride {tiling.stride}, but blends "
            f"{tiling.blend} and keeps {tiling.keep} sample rows at ratio {ratio}: its tiled_decode returns another "
            f"size than the sample's. Choose a tile whose overlap is a whole number of latent cells."
        )
    return tiling


def _first(vae: Any, *names: str) -> Any:
    return next((getattr(vae, name) for name in names if hasattr(vae, name)), None)
