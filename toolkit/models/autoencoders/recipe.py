"""What an autoencoder class needs beyond "call it on a tile": the form of one entry of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from toolkit.models.autoencoders.direction import Direction, DirectionName
from toolkit.models.autoencoders.frames import Frames

TileCall = Callable[[Any, Tensor, Mapping[str, Any]], Tensor]
Finish = Callable[[Tensor], Tensor]

BOTH: tuple[Direction, ...] = tuple(Direction)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How tiles of one class are computed, where its own decode and encode are not enough, and what they come out as.

    Without any field set: an image model whose own call on a tile is what its ``tiled_decode`` and ``tiled_encode``
    do with one, and whose encode gives a posterior.

    Attributes:
        reason: what is particular to the class, and why; empty where nothing is.
        decode: tile of the latent to raw tile, through the model's own modules; None: the model's own decode.
        encode: tile of the sample to raw tile of posterior parameters; None: the model's own encode.
        finish: done in place, once, on the merged sample, each value for itself: a streamed sample comes in bands.
        frames: frames that come out of each call; None for images.
        patch: the config entry with the side of the patches that raw decoded tiles hold as channels.
        moments: channels of what encode returns per latent channel: 2 for a posterior's mean and variance.
        uncast: the directions whose last operation is none that autocast casts.
        time_first: the class decodes to ``b t c h w``.
        mirrors: the directions in which ``Blend.diffusers()`` on ``diffusers_grid`` gives the class's own tiled result,
            bit for bit (where the model draws no noise).
        unlike: why there is nothing to be equal to in the other directions.
        other_blend: what the class blends with instead of the cascade; ``Blend.diffusers()`` is refused with it.
        always_tiles: its own tiling has no threshold: what fits one tile goes the way of tiles too.
        framewise: the attributes that switch its tiling in time on, for decode and encode; None: it has none, and
            grids have no ``t``.
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

    def tile(self, direction: DirectionName) -> TileCall | None:
        """The call of a tile in one direction, where it is not the model's own."""
        return self.decode if direction == "decode" else self.encode
