"""Specimens of the census with tiles a few latent cells wide, set through the models' own attributes."""

from __future__ import annotations

from typing import Any

from toolkit.models.autoencoders.census import Specimen


def with_small_tiles(specimen: Specimen, tile: int = 4, *, stride: int = 3) -> Any:
    """Build a specimen, its own tiling off, with tiles of ``tile`` latent cells.

    Args:
        specimen: The model to build.
        tile: Size of its tiles, in latent cells.
        stride: Distance of their starts, in latent cells.
    """
    vae = specimen.build()
    # Each family of classes has some of these attributes; setting those that exist covers them all.
    for side in ("height", "width", "size"):
        if hasattr(vae, f"tile_sample_stride_{side}"):
            setattr(vae, f"tile_sample_stride_{side}", stride * specimen.ratio)
        if hasattr(vae, f"tile_sample_min_{side}"):
            setattr(vae, f"tile_sample_min_{side}", tile * specimen.ratio)
        if hasattr(vae, f"tile_latent_min_{side}"):
            setattr(vae, f"tile_latent_min_{side}", tile)
    for name in ("tile_overlap_factor", "tile_overlap_factor_height", "tile_overlap_factor_width"):
        if hasattr(vae, name):
            setattr(vae, name, 1 - stride / tile)
    vae.use_tiling = False
    return vae
