"""The table of what each class needs beyond "decode one tile": one entry a class, with its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from toolkit.errors import ModelError

TileCall = Callable[[Any, Tensor], Tensor]
Finish = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one class decodes a tile, and what is left to do once, after the merge.

    Attributes:
        reason: why the class's own call is not enough; empty where it is.
        tile: latent tile to raw tile, through the model's own modules.
        finish: done in place on the merged sample.
        time: sample frames for latent frames, or None for images.
        patch: the name of the config entry with the side of the patches that raw tiles hold as channels.
    """

    reason: str = ""
    tile: TileCall | None = None
    finish: Finish | None = None
    time: Callable[[Any, int], int] | None = None
    patch: str | None = None


def wan_tile(vae: Any, latent: Tensor) -> Tensor:
    """One tile as AutoencoderKLWan's ``tiled_decode`` makes it: frame by frame, unclamped, still in patches.

    Each tile has a causal cache of its own, and ``post_quant_conv`` sees one frame at a time.
    """
    vae.clear_cache()
    frames = []
    for index in range(latent.shape[2]):
        vae._conv_idx = [0]
        frame = vae.post_quant_conv(latent[:, :, index : index + 1])
        frames.append(vae.decoder(frame, feat_cache=vae._feat_map, feat_idx=vae._conv_idx, first_chunk=index == 0))
    vae.clear_cache()
    return torch.cat(frames, dim=2)


def causal_frames(vae: Any, latent_frames: int) -> int:
    """Sample frames of a causal video decoder: the first latent frame gives one, each other one a whole group."""
    return (latent_frames - 1) * int(2 ** sum(vae.config.temperal_downsample)) + 1


def clamp(sample: Tensor) -> Tensor:
    """Clamp to [-1, 1] in place."""
    return sample.clamp_(-1.0, 1.0)


RECIPES: Mapping[str, Recipe] = {
    "AutoencoderKL": Recipe(),
    "AutoencoderKLWan": Recipe(
        reason="its decode clamps, and (2.2) unpatchifies, what tiled_decode blends before it does either",
        tile=wan_tile,
        finish=clamp,
        time=causal_frames,
        patch="patch_size",
    ),
}


def recipe_of(vae: Any) -> Recipe:
    """The entry for a model's class, or for the nearest class that it derives from.

    Raises:
        ModelError: where there is none.
    """
    for cls in type(vae).__mro__:
        if cls.__name__ in RECIPES:
            return RECIPES[cls.__name__]
    raise ModelError(
        f"{type(vae).__name__} is not a class whose tiles are known to merge into its own decode: "
        f"use one of {', '.join(RECIPES)}, or plan=None for the model's own call."
    )
