"""What a call in tiles cannot do, refused before anything runs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.blend import Blend
from toolkit.geometry.grid import TileGrid
from toolkit.models.autoencoders.frames import temporal_ratio
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.recipe import Recipe
from toolkit.models.protocols import Autoencoder


def check_call(vae: Autoencoder, recipe: Recipe, *, call: ModelCall, blend: Blend | None) -> None:
    """Refuse a blend that is not the class's, and arguments that cannot be given to each tile.

    Raises:
        ModelError: If ``blend`` is to be the class's own and the class blends in another way.
        PlanError: If an argument is a generator, or has an extent of its own.
    """
    if blend is not None and blend.merge == "cascade" and recipe.other_blend:
        raise ModelError(
            f"Blend.diffusers() with {type(vae).__name__}: its own tiling is not the cascade but "
            f"{recipe.other_blend}. Use Blend.linear(), .cosine() or .crop()."
        )
    for name, value in call.options.arguments.items():
        if isinstance(value, torch.Generator):
            raise PlanError(f"{name} is a torch.Generator, which tiles on several ranks cannot share: give seed=.")
        # Up to two dims it is per batch and channel (temb); with more it is a map, and each tile would need its part.
        if isinstance(value, Tensor) and value.ndim > 2:
            raise PlanError(
                f"{name} has shape {tuple(value.shape)}: an argument with an extent of its own cannot be divided into "
                "tiles. Use plan=None."
            )


def check_grid(
    vae: Autoencoder, recipe: Recipe, *, latent: Sequence[int], sample: Sequence[int], grid: TileGrid
) -> None:
    """Refuse a grid that is not for an input.

    Args:
        vae: The model.
        recipe: How its tiles are computed.
        latent: Shape of the latent.
        sample: Shape of the sample.
        grid: The tiles.

    Raises:
        PlanError: If the grid has an axis that the class cannot be tiled along, or another extent than the latent.
    """
    name, extent = type(vae).__name__, grid.extent
    allowed = "t, h and w" if recipe.framewise else "h and w"
    if set(extent) - ({"t", "h", "w"} if recipe.framewise else {"h", "w"}):
        raise PlanError(f"grid axes {grid.axes}: {name} can be tiled along {allowed} only.")
    # b c h w or b c t h w: as many names from the back as there are axes.
    sizes = dict(zip(("t", "h", "w")[-len(latent) + 2 :], latent[2:], strict=True))
    if any(sizes[axis] != extent[axis] for axis in extent):
        found = ", ".join(f"{axis}={sizes[axis]}" for axis in sizes if axis != "t" or "t" in extent)
        # The usual mistake: sizes of the picture in place of the latent's.
        in_pixels = all(extent[axis] == size for axis, size in zip("hw", sample[-2:], strict=True) if axis in extent)
        hint = "these are its pixels; sizes are in latent cells" if in_pixels else "make the grid for this latent"
        raise PlanError(f"the grid covers {extent}, but the latent has {found}: {hint}, TileGrid.cover(latent, ...).")
    if "t" in extent and sample[2] != (latent[2] - 1) * temporal_ratio(vae) + 1:
        raise PlanError(
            f"{sample[2]} frames with a grid along t: {name} takes 1 frame and then groups of {temporal_ratio(vae)}. "
            "Cut the sample to that, or make a grid along h and w."
        )
