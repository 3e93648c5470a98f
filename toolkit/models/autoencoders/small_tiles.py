"""Specimens of the census with tiles a few latent cells wide, set through their own attributes."""

from __future__ import annotations

from typing import Any

from toolkit.models.autoencoders.census import Specimen


def with_small_tiles(specimen: Specimen, tile: int = 4, stride: int = 3) -> Any:
    """The model, its own tiling off, set to tiles of ``tile`` latent cells."""
    vae = specimen.build()
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
