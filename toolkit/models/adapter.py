"""One adapter for every autoencoder: decode a tile, know the sample's shape, finish the merged sample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from toolkit.errors import PlanError
from toolkit.geometry.grid import Box, TileGrid
from toolkit.models.recipes import Recipe, recipe_of
from toolkit.models.tiling import spatial_ratio
from toolkit.models.whole import Call
from toolkit.numerics.boxes import Frame


@dataclass(frozen=True, slots=True)
class TileCoder:
    """A model, the latent it is to decode in tiles, and the shapes that follow.

    Everything is known before anything runs, and alike on every rank.

    Attributes:
        vae: the model; its weights and state are only borrowed.
        call: which of the model's calls.
        recipe: what its class needs beyond its own call.
        grid: the tiles.
        patch: side of the patches that raw tiles hold as channels; 1 for most models.
        frame: where latent boxes lie in raw tiles.
        shape: shape of the output, ``b c h w`` or ``b c t h w``.
        dtype: dtype of the output: the decoder's, or autocast's where that is on.
        device: where the model computes.
    """

    vae: Any
    call: Call
    recipe: Recipe
    grid: TileGrid
    patch: int
    frame: Frame
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, vae: Any, latent_shape: tuple[int, ...], grid: TileGrid, call: Call | None = None) -> TileCoder:
        """Read a model for a latent of ``latent_shape`` in the tiles of ``grid``.

        Raises:
            ModelError: where the class is not known.
            PlanError: where the grid is not for this latent.
        """
        recipe = recipe_of(vae)
        _check_latent(vae, recipe, latent_shape, grid)
        ratio = spatial_ratio(vae)
        patch = (vae.config[recipe.patch] or 1) if recipe.patch else 1
        batch, _, *time, h, w = latent_shape
        frames = [recipe.time(vae, time[0])] if recipe.time else []
        channels = vae.config.out_channels // patch**2 if patch > 1 else vae.config.out_channels
        weight = next(vae.decoder.parameters())
        return cls(
            vae,
            call or Call(),
            recipe,
            grid,
            patch,
            Frame(grid.axes, (ratio // patch,) * len(grid.axes)),
            (batch, channels, *frames, h * ratio, w * ratio),
            _output_dtype(weight),
            weight.device,
        )

    @property
    def whole(self) -> bool:
        """Whether the grid is one tile: then the model's own untiled call decodes it."""
        return len(self.grid) == 1

    def __call__(self, latent: Tensor) -> Tensor:
        """Decode one tile of latent ``b c [t] h w`` to a raw tile: unfinished, patches beside the channels."""
        if self.recipe.tile is None:
            return self.decode_whole(latent)
        slices = latent.split(1) if self.vae.use_slicing and len(latent) > 1 else (latent,)
        raw = [self.recipe.tile(self.vae, one) for one in slices]
        return self._beside(torch.cat(raw) if len(raw) > 1 else raw[0])

    def decode_whole(self, latent: Tensor) -> Tensor:
        """Decode a latent untiled, by the model's own call."""
        return self.call(self.vae, latent)

    def cut(self, latent: Tensor, box: Box) -> Tensor:
        """The tile of ``latent`` at ``box``, on the model's device."""
        return Frame(self.grid.axes, (1,) * len(box)).cut(latent, box).to(self.device)

    def canvas(self) -> Tensor:
        """Memory for the whole output."""
        return torch.empty(self.shape, dtype=self.dtype, device=self.device)

    def raw_view(self, canvas: Tensor) -> Tensor:
        """The output as raw tiles lie in it: a view, patches beside the channels."""
        if self.patch == 1:
            return canvas
        return rearrange(canvas, "b c t (h r) (w q) -> b c q r t h w", r=self.patch, q=self.patch)

    def raw_shape(self, box: Box) -> tuple[int, ...]:
        """The shape of a raw tensor that holds ``box``."""
        b, c, *time, _, _ = self.shape
        patches = (self.patch, self.patch) if self.patch > 1 else ()
        return self.frame.shape((b, c, *patches, *time, 0, 0), box)

    def finish(self, canvas: Tensor) -> Tensor:
        """What the class does once, after its merge (Wan clamps)."""
        return self.recipe.finish(canvas) if self.recipe.finish else canvas

    def _beside(self, raw: Tensor) -> Tensor:
        """Split the patches off the channels, as a view."""
        if self.patch == 1:
            return raw
        return rearrange(raw, "b (c q r) t h w -> b c q r t h w", q=self.patch, r=self.patch)


@contextmanager
def borrowed(vae: nn.Module) -> Iterator[None]:
    """Use a model without its own tiling and without gradients, and leave it exactly as it was found.

    Every attribute of every submodule that the model sets meanwhile (causal caches, counters, flags) is put back.
    """
    found = [(module, dict(vars(module))) for module in vae.modules()]
    vae.use_tiling = False  # type: ignore[assignment]
    try:
        with torch.no_grad():
            yield
    finally:
        for module, attributes in found:
            vars(module).clear()
            vars(module).update(attributes)


def _output_dtype(weight: Tensor) -> torch.dtype:
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


def _check_latent(vae: Any, recipe: Recipe, shape: tuple[int, ...], grid: TileGrid) -> None:
    layout = "b c t h w" if recipe.time else "b c h w"
    if len(shape) != len(layout.split()):
        raise PlanError(f"latent of shape {tuple(shape)}: {type(vae).__name__} decodes {layout}.")
    if set(grid.axes) - {"h", "w"}:
        raise PlanError(f"grid axes {grid.axes}: {type(vae).__name__} can be tiled along h and w only.")
    sizes = {"h": shape[-2], "w": shape[-1]}
    extent = grid.extent
    if any(sizes[axis] != extent[axis] for axis in extent):
        raise PlanError(
            f"the grid covers {extent}, the latent has h={sizes['h']}, w={sizes['w']}: lay the grid for this latent."
        )
