"""The receptive field of a model's call, measured: which rows of the output turn NaN with one row of the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from toolkit.errors import ModelError
from toolkit.models.autoencoders.autoencoder_table import recipe_of
from toolkit.models.autoencoders.borrowed import borrowed
from toolkit.models.autoencoders.direction import Direction, DirectionName
from toolkit.models.autoencoders.frames import temporal_ratio
from toolkit.models.autoencoders.locality import GlobalOperation, locally
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.options import Options
from toolkit.models.autoencoders.tiling import spatial_ratio
from toolkit.numerics.boxes import DIMS

EXTENTS = (24, 48, 96, 192, 384)
"""Latent cells along the probed axis, tried in turn until the reach fits; along the other axis there are ``ACROSS``."""
ACROSS = 3


@dataclass(frozen=True, slots=True)
class Halo:
    """Latent cells that a cell of the output depends on, along one axis.

    Attributes:
        before: cells before it.
        after: cells after it.

    Example:
        >>> Halo(14, 13).widest
        14
    """

    before: int
    after: int

    @property
    def widest(self) -> int:
        """The larger of both."""
        return max(self.before, self.after)


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """What one latent cell of a call's output depends on.

    Attributes:
        direction: of which call.
        h: the reach of convolutions along the height.
        w: the reach of convolutions along the width.
        global_norm: whether a normalisation sees the whole map.
        global_attention: whether an attention sees the whole map.
        draws: whether the call draws random numbers, so that a tile's are not the whole's.
    """

    direction: DirectionName
    h: Halo
    w: Halo
    global_norm: bool
    global_attention: bool
    draws: bool

    @property
    def halo(self) -> dict[str, Halo]:
        """The reach of convolutions, by axis."""
        return {"h": self.h, "w": self.w}

    @property
    def local(self) -> bool:
        """Whether the halo is all that a cell depends on: then a tile with its halo is exact."""
        return not (self.global_norm or self.global_attention or self.draws)

    @property
    def obstacles(self) -> tuple[str, ...]:
        """What keeps a tile with its halo from being exact, in words."""
        reasons = {
            "a normalisation over the whole map (GroupNorm)": self.global_norm,
            "an attention over the whole map": self.global_attention,
            "random numbers drawn during the call": self.draws,
        }
        return tuple(reason for reason, holds in reasons.items() if holds)


def receptive_field(
    vae: Any,
    direction: DirectionName = "decode",
    arguments: Mapping[str, Any] | None = None,
    shape: Sequence[int] | None = None,
) -> ReceptiveField:
    """Measure the receptive field of a model's own decode or encode.

    One row of a small input is NaN, and every row of the output that turns NaN depends on it. Normalisation and
    attention are replaced by operations on single cells meanwhile, so that the reach of the convolutions shows; each
    kind is then left intact once, to see whether it reaches farther. NaN, not a small change: what a change of the
    input does to a far row underflows long before the dependence ends. On an accelerator, a kernel that computes
    neighbouring outputs together (Winograd, FFT) may carry NaN farther: a halo is then too wide, never too narrow.

    Args:
        vae: a diffusers autoencoder; it is left as it was found.
        direction: which call.
        arguments: further arguments of that call.
        shape: the shape of an input of the call, of which height and width do not matter; short videos are as good as
            long ones, but must be as long as the class needs. None: one image, or two latent frames.

    Raises:
        ModelError: where the reach is over half of the largest extent tried, no NaN arrives at all, or the default
            ``shape`` is not known.

    Example:
        >>> from toolkit.models.autoencoders.census import specimen
        >>> receptive_field(specimen("AutoencoderTiny").build()).h
        Halo(before=19, after=19)
    """
    direction = Direction.of(direction)
    call = ModelCall(direction, Options(arguments=arguments or {}, seed=0))
    probe = _Probe(vae, call, tuple(shape or default_shape(vae, direction)))
    with borrowed(vae):
        halos, reached, draws = {}, set[GlobalOperation](), False
        for axis in ("h", "w"):
            extent, halos[axis], met, draws = probe.convolutions(axis)
            reached |= {kind for kind in met - reached if probe.reaches_farther(axis, extent, halos[axis], kind)}
    return ReceptiveField(direction, halos["h"], halos["w"], "norm" in reached, "attention" in reached, draws)


@dataclass(frozen=True, slots=True)
class _Probe:
    """A model's call on inputs with one NaN row."""

    vae: Any
    call: ModelCall
    shape: tuple[int, ...]

    def convolutions(self, axis: str) -> tuple[int, Halo, set[GlobalOperation], bool]:
        """The extent that sufficed, the reach of convolutions, the other operations met, and whether any drew."""
        for extent in EXTENTS:
            with locally(self.vae) as seen:
                halo = self._halo(self._touched(axis, extent), extent)
            if halo is not None:
                return extent, halo, seen.met, seen.draws
        raise ModelError(
            f"{type(self.vae).__name__}: one latent row of {EXTENTS[-1]} reaches the border of the output, with norms "
            f"and attention made local. Its receptive field is over {EXTENTS[-1] // 2} cells, or an operation that is "
            "neither sees the whole map: use tiles that blend, or the model's own call."
        )

    def reaches_farther(self, axis: str, extent: int, halo: Halo, kind: GlobalOperation) -> bool:
        """Whether more cells turn NaN with operations of one kind left intact."""
        with locally(self.vae, keep={kind}):
            return self._halo(self._touched(axis, extent), extent) != halo

    def _touched(self, axis: str, extent: int) -> list[int]:
        """Latent cells of the output that turn NaN with the middle one of the input."""
        dim = DIMS[axis]
        scale = 1 if self.call.direction == "decode" else spatial_ratio(self.vae)
        x = self._zeros({DIMS["h"]: ACROSS * scale, DIMS["w"]: ACROSS * scale, dim: extent * scale})
        x.narrow(dim, extent // 2 * scale, scale).fill_(torch.nan)
        try:
            output = self.call(self.vae, x)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise ModelError(
                f"{type(self.vae).__name__} cannot {self.call.direction} an input of shape {tuple(x.shape)}: "
                "give the shape= of one that it can."
            ) from error
        rows, rest = divmod(output.shape[dim], extent)
        if rest:
            raise ModelError(
                f"{type(self.vae).__name__}: {extent} latent cells along {axis} belong to {output.shape[dim]} cells of "
                f"the {self.call.direction}d output, no whole number each: its receptive field is not measured."
            )
        return sorted({row // rows for row in _nan_rows(output, dim)})

    def _zeros(self, sizes: Mapping[int, int]) -> Tensor:
        weight = next(self.vae.parameters())
        return weight.new_zeros(*self.shape[:-2], sizes[-2], sizes[-1])

    def _halo(self, touched: list[int], extent: int) -> Halo | None:
        """The halo behind the cells that were touched; None where they lie at the border."""
        middle = extent // 2
        if not touched:
            raise ModelError(
                f"{type(self.vae).__name__}: a NaN in the input does not arrive in the output; something between them, "
                "such as a quantiser, replaces it. Switch it off through arguments= to measure the rest."
            )
        if touched[0] <= 0 or touched[-1] >= extent - 1:
            return None
        return Halo(before=touched[-1] - middle, after=middle - touched[0])


def default_shape(vae: Any, direction: DirectionName) -> tuple[int, ...]:
    """The shape of a small input of a call: one image, or a video of two latent frames; height and width are 1.

    Raises:
        ModelError: for a class that is not known, or that does not state its channels under a known name.
    """
    config, video = vae.config, recipe_of(vae).frames is not None
    if direction == "decode":
        channels = next((config[name] for name in ("latent_channels", "z_dim", "z_channels") if name in config), None)
    else:
        channels = config.get("in_channels", 3)
        if recipe_of(vae).patch and (patch := config.get("patch_size")):
            channels //= patch**2
    if channels is None:
        raise ModelError(f"{type(vae).__name__} has no config.latent_channels, z_dim or z_channels: give shape=.")
    frames = (2 if direction == "decode" else 1 + temporal_ratio(vae),) if video else ()
    return (1, channels, *frames, 1, 1)


def _nan_rows(output: Tensor, dim: int) -> list[int]:
    others = [d for d in range(-output.ndim, 0) if d != dim]
    rows: list[int] = output.isnan().sum(others).nonzero()[:, 0].tolist()
    return rows
