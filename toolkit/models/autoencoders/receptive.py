r"""The receptive field of a model's call, measured: which rows of the output turn NaN with one row of the input.

input row  . . . . . N . . . . .        N: NaN
/ / | \\ \
        output rows . . N N N N N N . . .       reach: 3 cells before, 2 after
"""

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
from toolkit.models.autoencoders.given_shape import given_shape
from toolkit.models.autoencoders.locality import GlobalOperation, locally
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.options import Options
from toolkit.models.autoencoders.tiling import spatial_ratio
from toolkit.models.module_check import check_is_module
from toolkit.models.protocols import Autoencoder
from toolkit.numerics.boxes import DIMS

EXTENTS = (24, 48, 96, 192, 384)
"""Latent cells along the probed axis, tried in turn until the reach fits; the other axis has ``ACROSS`` cells."""
ACROSS = 3


@dataclass(frozen=True, slots=True)
class Halo:
    """Latent cells that one cell of the output depends on, along one axis.

    Attributes:
        before: Cells before it.
        after: Cells after it.

    Example:
        >>> Halo(14, 13).widest
        14
    """

    before: int
    after: int

    @property
    def widest(self) -> int:
        """The larger of the two."""
        return max(self.before, self.after)


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """What one latent cell of a call's output depends on.

    Attributes:
        direction: Which of the model's calls.
        h: The reach of convolutions along the height.
        w: The reach of convolutions along the width.
        global_norm: Whether a normalisation sees the whole map.
        global_attention: Whether an attention sees the whole map.
        draws: Whether the call draws random numbers; a tile's are then not those of the whole.
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
        """Whether a cell depends on its halo only, so that a tile with its halo is exact."""
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
    vae: Autoencoder,
    direction: DirectionName = "decode",
    arguments: Mapping[str, Any] | None = None,
    shape: Sequence[int] | None = None,
) -> ReceptiveField:
    """Measure the receptive field of a model's own decode or encode.

    One row of a small input is NaN, and every row of the output that turns NaN depends on it. Normalisation and
    attention are replaced by operations on single cells, so that only the reach of the convolutions shows. Then each
    kind is left intact once, to see whether it reaches farther.

    NaN is used rather than a small change, because a change of the input shrinks below the smallest float long before
    the dependence ends. On an accelerator, a kernel that computes neighbouring outputs together (Winograd, FFT) may
    carry NaN farther: a halo is then too wide, never too narrow.

    Args:
        vae: A diffusers autoencoder; it is left as it was found.
        direction: Which of the model's calls.
        arguments: Further arguments of that call.
        shape: Shape of an input of the call; its height and width do not matter. A short video does as well as a long
            one, as long as the class accepts it. None: one image, or two latent frames.

    Raises:
        ModelError: If the reach is over half of the largest extent tried, if no NaN reaches the output at all, or if
            the default ``shape`` is not known.

    Example:
        >>> from toolkit.models.autoencoders.census import specimen
        >>> receptive_field(specimen("AutoencoderTiny").build()).h
        Halo(before=19, after=19)
    """
    check_is_module("vae", vae)
    direction = Direction.of(direction)
    call = ModelCall(direction, Options(arguments=arguments or {}, seed=0))
    probe = _Probe(vae, call, default_shape(vae, direction) if shape is None else given_shape("shape", shape))
    with borrowed(vae):
        halos, reached, draws = {}, set[GlobalOperation](), False
        for axis in ("h", "w"):
            extent, halos[axis], met, draws = probe.convolutions(axis)
            # An operation that reaches farther along h need not be asked again along w.
            reached |= {
                kind for kind in met - reached if probe.reaches_farther(axis, extent, halo=halos[axis], kind=kind)
            }
    return ReceptiveField(direction, halos["h"], halos["w"], "norm" in reached, "attention" in reached, draws)


@dataclass(frozen=True, slots=True)
class _Probe:
    """A model's call on inputs with one NaN row."""

    vae: Autoencoder
    call: ModelCall
    shape: tuple[int, ...]

    def convolutions(self, axis: str) -> tuple[int, Halo, set[GlobalOperation], bool]:
        """Return the extent that sufficed, the reach of convolutions, the operations met, and whether any drew."""
        # The smallest first: the cost grows with the extent.
        for extent in EXTENTS:
            with locally(self.vae) as seen:
                halo = self._halo(self._touched(axis, extent), extent)
            if halo is not None:
                return extent, halo, seen.met, seen.draws
        raise ModelError(
            f"{type(self.vae).__name__}: one latent row of {EXTENTS[-1]} reaches the border of the output, with norms "
            f"and attention made local. Its receptive field is over {EXTENTS[-1] // 2} cells, or another operation "
            "sees the whole map. Use tiles that blend, or the model's own call."
        )

    def reaches_farther(self, axis: str, extent: int, *, halo: Halo, kind: GlobalOperation) -> bool:
        """Tell whether more cells turn NaN when operations of one kind are left intact."""
        with locally(self.vae, keep={kind}):
            return self._halo(self._touched(axis, extent), extent) != halo

    def _touched(self, axis: str, extent: int) -> list[int]:
        """Latent cells of the output that turn NaN with the middle one of the input."""
        dim = DIMS[axis]
        # A latent cell of a sample is a whole block of pixels; all of it is NaN.
        scale = 1 if self.call.direction == Direction.DECODE else spatial_ratio(self.vae)
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
                f"{type(self.vae).__name__} {self.call.direction}s {extent} latent cells along {axis} to "
                f"{output.shape[dim]} cells, which is not a whole number for each: its receptive field is not measured."
            )
        return sorted({row // rows for row in _nan_rows(output, dim)})

    def _zeros(self, sizes: Mapping[int, int]) -> Tensor:
        # Zeros, not noise: with norms made local, all that is not NaN stays finite.
        weight = next(self.vae.parameters())
        return weight.new_zeros(*self.shape[:-2], sizes[-2], sizes[-1])

    def _halo(self, touched: list[int], extent: int) -> Halo | None:
        """The halo that explains the cells that were touched; None if they lie at the border."""
        middle = extent // 2
        if not touched:
            raise ModelError(
                f"{type(self.vae).__name__}: a NaN in the input does not reach the output, because something between "
                "them, such as a quantiser, replaces it. Switch it off through arguments= to measure the rest."
            )
        if touched[0] <= 0 or touched[-1] >= extent - 1:
            return None
        # Mirrored: if cell c touches cells up to c + a, then a cell depends on those from a before it.
        return Halo(before=touched[-1] - middle, after=middle - touched[0])


def default_shape(vae: Autoencoder, direction: DirectionName) -> tuple[int, ...]:
    """Return the shape of a small input of a call: one image, or a video of two latent frames; h and w are 1.

    Raises:
        ModelError: If the class is not known, or does not state its channels under a known name.
    """
    config, recipe = vae.config, recipe_of(vae)
    if direction == Direction.DECODE:
        channels = next((config[name] for name in ("latent_channels", "z_dim", "z_channels") if name in config), None)
    else:
        channels = config.get("in_channels", 3)
        # Models that work on patches count the patches' pixels among their channels.
        if recipe.patch and (patch := config.get("patch_size")):
            channels //= patch**2
    if channels is None:
        raise ModelError(f"{type(vae).__name__} has no config.latent_channels, z_dim or z_channels: give shape=.")
    frames = (2 if direction == Direction.DECODE else 1 + temporal_ratio(vae),) if recipe.frames is not None else ()
    return (1, channels, *frames, 1, 1)


def _nan_rows(output: Tensor, dim: int) -> list[int]:
    """Places along a dim at which any value is NaN."""
    others = [d for d in range(-output.ndim, 0) if d != dim]
    rows: list[int] = output.isnan().sum(others).nonzero()[:, 0].tolist()
    return rows
