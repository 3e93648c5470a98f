"""How tiles of an autoencoder class are computed, where its own call on a tile is not enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from toolkit.errors import PlanError
from toolkit.models.autoencoders.direction import Direction, DirectionName
from toolkit.models.autoencoders.frames import Frames

TileCall = Callable[[Any, Tensor, Mapping[str, Any]], Tensor]
"""Computes one tile: from the model, the tile's input and the further arguments of the call to a raw tile."""
Finish = Callable[[Tensor], Tensor]

BOTH: tuple[Direction, ...] = tuple(Direction)
"""Both directions, decode first."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How tiles of one class are computed, and what they come out as.

    The defaults describe an image model whose own call on a tile is exactly what its ``tiled_decode`` and
    ``tiled_encode`` do with one, and whose encode returns a posterior.

    Attributes:
        reason: A note on what is particular to the class, and why.
        decode: The function that decodes a tile of the latent through the model's own modules. None: the model's own
            decode.
        encode: The function that encodes a tile of the sample to posterior parameters. None: the model's encode.
        finish: What the class does to the merged sample, once and in place. It must treat each value for itself,
            because a streamed sample comes in bands.
        frames: The number of frames that come out of each call. None for images.
        patch: The config entry with the side of the patches that raw decoded tiles hold as channels.
        moments: Channels that encode returns per latent channel: 2 for the mean and variance of a posterior.
        uncast: The directions whose last operation is not one that autocast casts.
        time_first: Whether the class decodes to ``b t c h w``.
        mirrors: The directions in which ``Blend.diffusers()`` on ``diffusers_grid`` gives the class's own tiled result,
            bit for bit (as long as the model draws no noise).
        unlike: Why there is nothing to be equal to in the other directions.
        other_blend: What the class blends with instead of the cascade; ``Blend.diffusers()`` is then refused.
        always_tiles: Whether the class tiles an input that fits into one tile, too.
        framewise: The attributes that turn on its tiling in time, by direction. None: it has none, and grids have no
            axis ``t``.

    Raises:
        PlanError: If a field has a value that it cannot have.
    """

    reason: str = ""
    decode: TileCall | None = None
    encode: TileCall | None = None
    finish: Finish | None = None
    frames: Frames | None = None
    patch: str | None = None
    moments: int = 2
    uncast: tuple[DirectionName, ...] = ()
    time_first: bool = False
    mirrors: tuple[DirectionName, ...] = BOTH
    unlike: str = ""
    other_blend: str = ""
    always_tiles: bool = False
    framewise: Mapping[DirectionName, str] | None = None

    def __post_init__(self) -> None:
        for name in ("decode", "encode", "finish", "frames"):
            self._check(name, getattr(self, name) is None or callable(getattr(self, name)), "a function, or None")
        for name in ("reason", "unlike", "other_blend"):
            self._check(name, isinstance(getattr(self, name), str), "a string")
        for name in ("time_first", "always_tiles"):
            self._check(name, isinstance(getattr(self, name), bool), "True or False")
        self._check("patch", self.patch is None or isinstance(self.patch, str), "the name of a config entry, or None")
        number = isinstance(self.moments, int) and not isinstance(self.moments, bool)
        self._check("moments", number and self.moments > 0, "an int of at least 1")
        for name in ("uncast", "mirrors"):
            given = getattr(self, name)
            self._check(name, isinstance(given, tuple) and set(given) <= set(BOTH), "a tuple of directions")
            # Plain strings become members, the only exception to "frozen": no other code has seen the value yet.
            object.__setattr__(self, name, tuple(map(Direction, given)))
        if self.framewise is not None:
            fits = set(self.framewise) == set(BOTH) and all(isinstance(name, str) for name in self.framewise.values())
            self._check("framewise", fits, "an attribute's name for decode and for encode, or None")

    def _check(self, name: str, holds: bool, rule: str) -> None:
        if not holds:
            raise PlanError(f"{name}={getattr(self, name)!r} in a Recipe: must be {rule}.")

    def tile(self, direction: DirectionName) -> TileCall | None:
        """Return the function that computes a tile in one direction; None if it is the model's own call."""
        return self.decode if direction == Direction.DECODE else self.encode
