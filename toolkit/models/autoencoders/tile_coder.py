"""One adapter for every autoencoder: compute a tile, know the output's shape, finish the merged output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from toolkit.errors import ModelError
from toolkit.geometry.blend import Blend
from toolkit.geometry.grid import Box, Tile, TileGrid
from toolkit.geometry.span import Span
from toolkit.models.autoencoders.autoencoder_table import recipe_of
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.frames import temporal_ratio
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.recipe import Recipe
from toolkit.models.autoencoders.shapes import first_weight, output_dtype, output_shape, patch_side
from toolkit.models.autoencoders.tile_checks import check_call, check_grid
from toolkit.models.autoencoders.tiling import spatial_ratio
from toolkit.models.protocols import Autoencoder
from toolkit.numerics.boxes import BoxLayout


@dataclass(frozen=True, slots=True)
class TileCoder:
    """A model, the call to make in tiles, and the shapes that follow from both.

    It reads attributes only, so making one takes less than a millisecond. Everything is known before anything runs, and
    is the same on every rank. Boxes are latent in both directions.

    Attributes:
        vae: The model; its weights and state are only borrowed.
        call: The model call to make.
        recipe: How the class's tiles are computed.
        grid: The tiles.
        patch: Side of the patches that raw tiles hold as channels; 1 for most models.
        source: Where latent boxes lie in the input.
        boxes: Where latent boxes lie in raw tiles.
        shape: Shape of the output, ``b c h w`` or ``b c t h w``.
        dtype: Dtype of the output: the model's, or autocast's while that is on.
        device: The device that the model computes on.
    """

    vae: Autoencoder
    call: ModelCall
    recipe: Recipe
    grid: TileGrid
    patch: int
    source: BoxLayout
    boxes: BoxLayout
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(
        cls,
        vae: Autoencoder,
        input_shape: Sequence[int],
        grid: TileGrid,
        call: ModelCall | None = None,
        blend: Blend | None = None,
    ) -> TileCoder:
        """Read a model for an input of ``input_shape`` in the tiles of ``grid``.

        Args:
            vae: A diffusers autoencoder, or a module like one together with a recipe in ``call.options``.
            input_shape: Shape of the latent to decode, or of the sample to encode.
            grid: The tiles, in latent cells.
            call: The model call to make; None: decode.
            blend: How the tiles will be merged, if that is known.

        Raises:
            ModelError: If the class is not known, or blends its tiles in another way than ``blend`` asks for.
            PlanError: If the grid is not for this input, or an argument of the call cannot be divided into tiles.
        """
        call = call or ModelCall()
        recipe = call.options.recipe or recipe_of(vae)
        decodes = call.direction == Direction.DECODE
        shape = output_shape(vae, recipe, direction=call.direction, shape=input_shape)
        check_call(vae, recipe, call=call, blend=blend)
        latent_shape, sample_shape = (input_shape, shape) if decodes else (shape, input_shape)
        check_grid(vae, recipe, latent=latent_shape, sample=sample_shape, grid=grid)
        patch = patch_side(vae, recipe, direction=call.direction)
        latent, sample = _layout(vae, grid, patch=0), _layout(vae, grid, patch=patch)
        source, boxes = (latent, sample) if decodes else (sample, latent)
        device = first_weight(vae, call.direction).device
        return cls(vae, call, recipe, grid, patch, source, boxes, shape, output_dtype(vae, recipe, call=call), device)

    @property
    def whole(self) -> bool:
        """Whether the grid is one tile, which the model's own untiled call computes."""
        return len(self.grid) == 1 and not self.recipe.always_tiles

    @property
    def ratio(self) -> dict[str, int]:
        """Cells of the output per latent cell along each axis."""
        ratios = zip(self.boxes.axes, self.boxes.ratios, strict=True)
        return {axis: ratio if axis == "t" else ratio * self.patch for axis, ratio in ratios}

    def __call__(self, x: Tensor, tile: Tile) -> Tensor:
        """Compute one tile of the input ``x``: a raw tile, unfinished, with patches beside the channels.

        Raises:
            ModelError: If the model returns another shape or dtype than was read off its attributes.
        """
        part = self.cut(x, tile.box)
        raw = self._raw(part)
        if self._lead(tile.box):
            # The first frame came from the extra cell before the box. It is of the kind that only a video's first
            # frame should be, so it is dropped; the tile before holds the right one.
            raw = raw.narrow(-3, 1, raw.shape[-3] - 1)
        return self._checked(raw, part, shape=self.raw_shape(tile.box))

    def compute_whole(self, x: Tensor) -> Tensor:
        """Compute the output untiled, by the model's own call.

        Raises:
            ModelError: As for a tile.
        """
        return self._checked(self.call(self.vae, x.to(self.device)), x, shape=self.shape)

    def cut(self, x: Tensor, box: Box) -> Tensor:
        """Cut the input of the tile at ``box`` and move it to the model's device.

        Along ``t``, every tile after the first begins a cell early: a causal model treats the first frame that it gets
        differently from the rest, and that one will be dropped.
        """
        lead = self._lead(box)
        for axis, dim, span in zip(self.grid.axes, self.source.dims, self.source.spans(box), strict=True):
            early = lead if axis == "t" else 0
            x = x.narrow(dim, span.start - early, len(span) + early)
        return x.to(self.device)

    def spans(self, box: Box) -> Box:
        """Convert a latent box to cells of the output."""
        # Raw tiles count patches, the output counts pixels.
        scales = (1 if axis == "t" else self.patch for axis in self.boxes.axes)
        spans = zip(self.boxes.spans(box), scales, strict=True)
        return tuple(Span(span.start * scale, span.stop * scale) for span, scale in spans)

    def canvas(self, box: Box | None = None) -> Tensor:
        """Allocate memory for the whole output, or for the part of it at ``box``."""
        shape = list(self.shape)
        for dim, span in zip(self.boxes.dims, self.spans(box) if box else (), strict=bool(box)):
            shape[dim] = len(span)
        return torch.empty(shape, dtype=self.dtype, device=self.device)

    def raw_view(self, canvas: Tensor) -> Tensor:
        """View the output as raw tiles lie in it: patches beside the channels."""
        if self.patch == 1:
            return canvas
        # In diffusers' order of (c q r): first the column in the patch, then the row.
        return rearrange(canvas, "b c t (h r) (w q) -> b c q r t h w", r=self.patch, q=self.patch)

    def raw_shape(self, box: Box) -> tuple[int, ...]:
        """Return the shape of a raw tensor that holds ``box``."""
        *outer, h, w = self.shape
        if self.patch > 1:
            b, c, t = outer
            outer = [b, c, self.patch, self.patch, t]
        return self.boxes.shape((*outer, h // self.patch, w // self.patch), box)

    def finish(self, canvas: Tensor) -> None:
        """Do in place what the class does once after it has merged decoded tiles (Wan clamps)."""
        if self.recipe.finish and self.call.direction == Direction.DECODE:
            self.recipe.finish(canvas)

    def _checked(self, output: Tensor, x: Tensor, *, shape: tuple[int, ...]) -> Tensor:
        if output.shape == shape and output.dtype == self.dtype:
            return output
        raise ModelError(
            f"{type(self.vae).__name__} {self.call.direction}s {tuple(x.shape)} to {output.dtype} of shape "
            f"{tuple(output.shape)}, but {self.dtype} of shape {shape} was expected: this configuration of it is not "
            "known. Use plan=None, or give a Recipe of your own."
        )

    def _lead(self, box: Box) -> int:
        """Cells of the input before the box that are computed with it."""
        return int(self.grid.axes[0] == "t" and box[0].start > 0)

    def _raw(self, part: Tensor) -> Tensor:
        tile = self.recipe.tile(self.call.direction)
        if tile is None:
            return self.call(self.vae, part)
        # The class's own decode slices a batch before it tiles. This function stands for what comes after the slicing.
        slices = part.split(1) if getattr(self.vae, "use_slicing", False) and len(part) > 1 else (part,)
        with self.call.around(self.device):
            raws = [tile(self.vae, one, self.call.arguments_on(self.device)) for one in slices]
        raw = torch.cat(raws) if len(raws) > 1 else raws[0]
        if self.patch == 1:
            return raw
        return rearrange(raw, "b (c q r) t h w -> b c q r t h w", q=self.patch, r=self.patch)


def _layout(vae: Autoencoder, grid: TileGrid, *, patch: int) -> BoxLayout:
    """Where latent boxes lie in latents (``patch`` 0), or in samples in patches of that side."""
    if not patch:
        return BoxLayout(grid.axes, (1,) * len(grid.axes))
    ratios = {"h": spatial_ratio(vae) // patch, "w": spatial_ratio(vae) // patch}
    if "t" not in grid.axes:
        return BoxLayout(grid.axes, tuple(ratios[axis] for axis in grid.axes))
    # A causal model makes one frame of the first latent frame and a group of each other one.
    ratios["t"] = temporal_ratio(vae)
    firsts = ratios | {"t": 1}
    return BoxLayout(grid.axes, tuple(ratios[axis] for axis in grid.axes), tuple(firsts[axis] for axis in grid.axes))
