"""One adapter for every autoencoder: compute a tile, know the output's shape, finish the merged output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from einops import rearrange
from torch import Tensor, nn

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.blend import Blend
from toolkit.geometry.grid import Box, Tile, TileGrid
from toolkit.geometry.span import Span
from toolkit.models.autoencoders.frames import temporal_ratio
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.recipe import Recipe
from toolkit.models.autoencoders.recipes import recipe_of
from toolkit.models.autoencoders.shapes import first_weight, output_dtype, output_shape, patch_side
from toolkit.models.autoencoders.tiling import spatial_ratio
from toolkit.numerics.boxes import Frame


@dataclass(frozen=True, slots=True)
class TileCoder:
    """A model, the call that is to be made in tiles, and the shapes that follow.

    Everything is known before anything runs, and alike on every rank. Boxes are latent in both directions.

    Attributes:
        vae: the model; its weights and state are only borrowed.
        call: which of the model's calls.
        recipe: what its class needs beyond its own call.
        grid: the tiles.
        patch: side of the patches that raw tiles hold as channels; 1 for most models.
        source: where latent boxes lie in the input.
        frame: where latent boxes lie in raw tiles.
        shape: shape of the output, ``b c h w`` or ``b c t h w``.
        dtype: dtype of the output: the model's, or autocast's where that is on.
        device: where the model computes.
    """

    vae: Any
    call: ModelCall
    recipe: Recipe
    grid: TileGrid
    patch: int
    source: Frame
    frame: Frame
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(
        cls,
        vae: Any,
        input_shape: Sequence[int],
        grid: TileGrid,
        call: ModelCall | None = None,
        blend: Blend | None = None,
    ) -> TileCoder:
        """Read a model for an input of ``input_shape`` in the tiles of ``grid``.

        Args:
            vae: a diffusers autoencoder, or a module like one with a recipe in ``call``.
            input_shape: shape of the latent to decode, or of the sample to encode.
            grid: the tiles, in latent cells.
            call: which of the model's calls; None: decode.
            blend: how the tiles are to be merged, where that is known.

        Raises:
            ModelError: where the class is not known, or blends its tiles in another way than is asked for.
            PlanError: where the grid is not for this input, or an argument of the call cannot be divided.
        """
        call = call or ModelCall()
        recipe = call.options.recipe or recipe_of(vae)
        shape = output_shape(vae, recipe, call.direction, input_shape)
        _check_call(vae, recipe, call, blend)
        latent_shape, sample_shape = (shape, input_shape) if call.direction == "encode" else (input_shape, shape)
        _check_grid(vae, recipe, latent_shape, sample_shape, grid)
        patch = patch_side(vae, recipe, call.direction)
        latent, sample = _frame(vae, grid, 0), _frame(vae, grid, patch)
        source, frame = (latent, sample) if call.direction == "decode" else (sample, latent)
        device = first_weight(vae, call.direction).device
        return cls(vae, call, recipe, grid, patch, source, frame, shape, output_dtype(vae, recipe, call), device)

    @property
    def whole(self) -> bool:
        """Whether the grid is one tile: then the model's own untiled call computes it."""
        return len(self.grid) == 1 and not self.recipe.always_tiles

    @property
    def ratio(self) -> dict[str, int]:
        """Cells of the output per latent cell along each axis."""
        ratios = zip(self.frame.axes, self.frame.ratios, strict=True)
        return {axis: ratio if axis == "t" else ratio * self.patch for axis, ratio in ratios}

    def __call__(self, x: Tensor, tile: Tile) -> Tensor:
        """Compute one tile of the input ``x``: a raw tile, unfinished, patches beside the channels.

        Raises:
            ModelError: where the model returns another shape or dtype than it was read to.
        """
        part = self.cut(x, tile.box)
        raw = self._raw(part)
        if self._lead(tile.box):
            raw = raw.narrow(-3, 1, raw.shape[-3] - 1)
        return self._checked(raw, part, self.raw_shape(tile.box))

    def compute_whole(self, x: Tensor) -> Tensor:
        """Compute the output untiled, by the model's own call.

        Raises:
            ModelError: as for a tile.
        """
        return self._checked(self.call(self.vae, x.to(self.device)), x, self.shape)

    def cut(self, x: Tensor, box: Box) -> Tensor:
        """The input of the tile at ``box``, on the model's device.

        Along ``t``, a tile after the first begins a cell early: what a causal model makes of a first frame is of
        another kind than the rest, and is dropped.
        """
        lead = self._lead(box)
        for axis, dim, span in zip(self.grid.axes, self.source.dims, self.source.spans(box), strict=True):
            early = lead if axis == "t" else 0
            x = x.narrow(dim, span.start - early, len(span) + early)
        return x.to(self.device)

    def spans(self, box: Box) -> Box:
        """A latent box in cells of the output."""
        scales = (1 if axis == "t" else self.patch for axis in self.frame.axes)
        spans = zip(self.frame.spans(box), scales, strict=True)
        return tuple(Span(span.start * scale, span.stop * scale) for span, scale in spans)

    def canvas(self, box: Box | None = None) -> Tensor:
        """Memory for the whole output, or for what lies at ``box`` of it."""
        shape = list(self.shape)
        for dim, span in zip(self.frame.dims, self.spans(box) if box else (), strict=bool(box)):
            shape[dim] = len(span)
        return torch.empty(shape, dtype=self.dtype, device=self.device)

    def raw_view(self, canvas: Tensor) -> Tensor:
        """The output as raw tiles lie in it: a view, patches beside the channels."""
        if self.patch == 1:
            return canvas
        return rearrange(canvas, "b c t (h r) (w q) -> b c q r t h w", r=self.patch, q=self.patch)

    def raw_shape(self, box: Box) -> tuple[int, ...]:
        """The shape of a raw tensor that holds ``box``."""
        *outer, h, w = self.shape
        if self.patch > 1:
            b, c, t = outer
            outer = [b, c, self.patch, self.patch, t]
        return self.frame.shape((*outer, h // self.patch, w // self.patch), box)

    def finish(self, canvas: Tensor) -> None:
        """What the class does once, after it has merged decoded tiles, in place (Wan clamps)."""
        if self.recipe.finish and self.call.direction == "decode":
            self.recipe.finish(canvas)

    def _checked(self, output: Tensor, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        if output.shape == shape and output.dtype == self.dtype:
            return output
        raise ModelError(
            f"{type(self.vae).__name__} {self.call.direction}s {tuple(x.shape)} to {output.dtype} of shape "
            f"{tuple(output.shape)}, where {self.dtype} of shape {shape} was expected: this configuration of it is not "
            "known; use plan=None, or give a Recipe of your own."
        )

    def _lead(self, box: Box) -> int:
        """Cells of the input before the box that are computed with it."""
        return int(self.grid.axes[0] == "t" and box[0].start > 0)

    def _raw(self, part: Tensor) -> Tensor:
        tile = self.recipe.tile(self.call.direction)
        if tile is None:
            return self.call(self.vae, part)
        # The class slices a batch before it tiles, and this call comes after its slicing.
        slices = part.split(1) if getattr(self.vae, "use_slicing", False) and len(part) > 1 else (part,)
        with self.call.around(self.device):
            raws = [tile(self.vae, one, self.call.arguments_on(self.device)) for one in slices]
        raw = torch.cat(raws) if len(raws) > 1 else raws[0]
        if self.patch == 1:
            return raw
        return rearrange(raw, "b (c q r) t h w -> b c q r t h w", q=self.patch, r=self.patch)


@contextmanager
def borrowed(vae: nn.Module, grid: TileGrid | None = None) -> Iterator[None]:
    """Use a model without its own tiling and without gradients, and leave it exactly as it was found.

    Every attribute of every submodule that the model sets meanwhile (causal caches, counters, flags) is put back, and
    those of its scheduler, where it has one.

    Args:
        vae: the model.
        grid: the tiles that it is used for: with an axis ``t``, the model's own tiling in time is off too.
    """
    holders: list[Any] = list(vae.modules())
    holders += [
        value
        for module in holders
        for name, value in vars(module).items()
        if not name.startswith("_") and isinstance(value, ConfigMixin)
    ]
    found = [(holder, dict(vars(holder))) for holder in holders]
    vae.use_tiling = False  # type: ignore[assignment]
    for name in ("use_framewise_decoding", "use_framewise_encoding"):
        if grid is not None and "t" in grid.axes and hasattr(vae, name):
            setattr(vae, name, False)
    try:
        with torch.no_grad():
            yield
    finally:
        for holder, attributes in found:
            vars(holder).clear()
            vars(holder).update(attributes)


def _frame(vae: Any, grid: TileGrid, patch: int) -> Frame:
    """Where latent boxes lie in latents (``patch`` 0), or in samples in patches of that side."""
    if not patch:
        return Frame(grid.axes, (1,) * len(grid.axes))
    ratios = {"h": spatial_ratio(vae) // patch, "w": spatial_ratio(vae) // patch}
    if "t" not in grid.axes:
        return Frame(grid.axes, tuple(ratios[axis] for axis in grid.axes))
    ratios["t"] = temporal_ratio(vae)
    firsts = ratios | {"t": 1}
    return Frame(grid.axes, tuple(ratios[axis] for axis in grid.axes), tuple(firsts[axis] for axis in grid.axes))


def _check_call(vae: Any, recipe: Recipe, call: ModelCall, blend: Blend | None) -> None:
    if blend is not None and blend.merge == "cascade" and recipe.other_blend:
        raise ModelError(
            f"Blend.diffusers() with {type(vae).__name__}: its own tiling is not the cascade but "
            f"{recipe.other_blend}. Use Blend.linear(), .cosine() or .crop()."
        )
    for name, value in call.options.arguments.items():
        if isinstance(value, torch.Generator):
            raise PlanError(f"{name} is a torch.Generator, which tiles on several ranks cannot share: give seed=.")
        if isinstance(value, Tensor) and value.ndim > 2:
            raise PlanError(
                f"{name} has shape {tuple(value.shape)}: an argument with an extent of its own cannot be divided into "
                "tiles; use plan=None."
            )


def _check_grid(vae: Any, recipe: Recipe, latent: Sequence[int], sample: Sequence[int], grid: TileGrid) -> None:
    name, extent = type(vae).__name__, grid.extent
    allowed = "t, h and w" if recipe.framewise else "h and w"
    if set(extent) - ({"t", "h", "w"} if recipe.framewise else {"h", "w"}):
        raise PlanError(f"grid axes {grid.axes}: {name} can be tiled along {allowed} only.")
    if "t" in extent and grid.axes[0] != "t":
        raise PlanError(f"grid axes {grid.axes}: t comes first; make the grid with axes t, h, w.")
    sizes = dict(zip(("t", "h", "w")[-len(latent) + 2 :], latent[2:], strict=True))
    if any(sizes[axis] != extent[axis] for axis in extent):
        found = ", ".join(f"{axis}={sizes[axis]}" for axis in sizes if axis != "t" or "t" in extent)
        raise PlanError(f"the grid covers {extent}, the latent has {found}: lay the grid for this latent.")
    if "t" in extent and sample[2] != (latent[2] - 1) * temporal_ratio(vae) + 1:
        raise PlanError(
            f"{sample[2]} frames with a grid along t: {name} takes 1 frame and then groups of {temporal_ratio(vae)}; "
            "cut the sample to that, or lay the grid along h and w."
        )
