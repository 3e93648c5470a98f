"""Tiles that have been computed elsewhere, in place of a model that computes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from torch import Tensor

from toolkit.geometry.grid import Tile
from toolkit.models.autoencoders.tile_coder import TileCoder


@dataclass(frozen=True, slots=True)
class ComputedTiles(TileCoder):
    """A coder whose tiles have been computed elsewhere.

    Attributes:
        raw: The raw tiles by index.
    """

    raw: Mapping[int, Tensor] = field(default_factory=dict)

    @classmethod
    def over(cls, coder: TileCoder, raw: Mapping[int, Tensor]) -> ComputedTiles:
        """A coder with the shapes of another one."""
        return cls(**{one.name: getattr(coder, one.name) for one in fields(TileCoder)}, raw=raw)

    def __call__(self, x: Tensor, tile: Tile) -> Tensor:
        """The raw tile."""
        return self.raw[tile.index].to(self.device)

    def compute_whole(self, x: Tensor) -> Tensor:
        """The only tile."""
        return self.raw[0].to(self.device)
