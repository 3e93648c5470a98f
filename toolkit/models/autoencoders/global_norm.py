"""GroupNorm in tiles by statistics of all tiles: a tile alone normalises by its own brightness, and its colour shifts.

Tiles are computed once more beforehand, only to take the moments of what enters each GroupNorm. A tile counts its core
alone, so that no cell counts twice; the moments of all tiles are merged layer by layer and every tile is normalised by
them. The first layer's are then those of the whole map; deeper ones come from tiles whose earlier layers were
normalised on their own, and further passes bring them closer. It is no exact mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch.overrides import TorchFunctionMode

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.grid import Tile, TileGrid
from toolkit.geometry.span import Span
from toolkit.models.autoencoders.tile_coder import TileCoder
from toolkit.models.autoencoders.tiling import spatial_ratio
from toolkit.numerics.statistics import Moments, group_norm_with, moments_of

Statistics = tuple[Moments, ...]
"""Moments for each GroupNorm call of a tile, in the order of the calls."""


def tile_statistics(coder: TileCoder, x: Tensor, tile: Tile, given: Statistics | None = None) -> Statistics:
    """Compute a tile for the moments of its core at each GroupNorm, and drop the tile.

    Args:
        coder: the model and its grid.
        x: the whole input.
        tile: which tile.
        given: moments to normalise by; None: the tile's own.

    Raises:
        ModelError: where a GroupNorm's input cannot be placed on the map.
    """
    norms = tile_norms(coder, tile, given, record=True)
    with norms:
        coder(x, tile)
    return tuple(norms.recorded)


def merge_statistics(parts: Mapping[int, Statistics]) -> Statistics:
    """The moments of all tiles together, merged in the order of the tiles whoever computed them.

    Raises:
        ModelError: where tiles called GroupNorm differently often, or never.
    """
    tiles = [parts[index] for index in sorted(parts)]
    if not any(tiles):
        raise ModelError("the model calls no GroupNorm: it has no statistics to gather; leave them to each tile.")
    if len({len(tile) for tile in tiles}) > 1:
        raise ModelError(
            f"tiles call GroupNorm {min(map(len, tiles))} to {max(map(len, tiles))} times: their statistics cannot be "
            "matched; use tiles of one size, or statistics of each tile alone."
        )
    return tuple(Moments.merge(layer) for layer in zip(*tiles, strict=True))


def global_statistics(coder: TileCoder, x: Tensor, passes: int = 1) -> Statistics:
    """The statistics of all tiles, gathered in this process.

    Args:
        coder: the model, borrowed, and its grid.
        x: the whole input.
        passes: how often all tiles are computed for them: the first time by their own statistics, then by those of
            the pass before.

    Raises:
        PlanError: for less than one pass, or a grid along ``t``.
    """
    check_passes(passes, coder.grid)
    merged = None
    for _ in range(passes):
        merged = merge_statistics({tile.index: tile_statistics(coder, x, tile, merged) for tile in coder.grid.tiles})
    assert merged is not None
    return merged


@dataclass(frozen=True, slots=True)
class NormedCoder(TileCoder):
    """A coder whose GroupNorms use the statistics given.

    Attributes:
        statistics: the statistics of all tiles.
    """

    statistics: Statistics | None = None

    @classmethod
    def over(cls, coder: TileCoder, statistics: Statistics) -> NormedCoder:
        """A coder like another, with statistics."""
        return cls(**{field.name: getattr(coder, field.name) for field in fields(coder)}, statistics=statistics)

    def __call__(self, x: Tensor, tile: Tile) -> Tensor:
        """Compute one tile, normalised as part of the whole."""
        with tile_norms(self, tile, self.statistics):
            # A dataclass with slots is another class than the one that a bare super() finds.
            return TileCoder.__call__(self, x, tile)


def check_passes(passes: int, grid: TileGrid) -> None:
    """Refuse what :func:`global_statistics` cannot do.

    Raises:
        PlanError: for less than one pass, or a grid along ``t``.
    """
    if isinstance(passes, bool) or not isinstance(passes, int) or passes < 1:
        raise PlanError(f"passes={passes!r}: statistics of all tiles need at least 1 pass over them.")
    if "t" in grid.axes:
        raise PlanError(f"grid axes {grid.axes}: statistics of all tiles are for grids along h and w.")


def tile_norms(coder: TileCoder, tile: Tile, given: Statistics | None, record: bool = False) -> TileNorms:
    """The context in which a coder computes one tile: by the moments given, those of its core recorded or not."""
    scale = spatial_ratio(coder.vae) if coder.call.direction == "decode" else 1
    whole = {axis: Span(0, coder.shape[dim] // scale) for axis, dim in (("h", -2), ("w", -1))}
    return TileNorms({**whole, **tile.spans}, {**whole, **tile.core}, given, record)


@dataclass(eq=False)
class TileNorms(TorchFunctionMode):
    """Within this context, which is for one tile, GroupNorms use the moments given and those of the core are noted.

    Attributes:
        spans: the tile along h and w, in latent cells.
        core: its core.
        given: moments for each call; None: each call's own.
        record: whether to note the core's moments.
        recorded: the core's moments at each call.
        calls: how many there were.
        scale: cells of the map per latent cell, at the last call.
    """

    spans: Mapping[str, Span]
    core: Mapping[str, Span]
    given: Statistics | None = None
    record: bool = False
    recorded: list[Moments] = field(default_factory=list)
    calls: int = 0
    scale: int = 1

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.group_norm or func is torch.group_norm:
            return self._norm(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _norm(
        self,
        func: Callable[..., Tensor],
        input: Tensor,
        num_groups: int,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
        cudnn_enabled: bool = True,
    ) -> Tensor:
        call, self.calls = self.calls, self.calls + 1
        if self.record:
            self.recorded.append(moments_of(self._of_core(input), num_groups))
        if self.given is None:
            return func(input, num_groups, weight, bias, eps)
        if call >= len(self.given) or self.given[call].mean.shape != (len(input), num_groups):
            raise ModelError(
                f"GroupNorm {call} of {tuple(input.shape)} in {num_groups} groups: the statistics of {len(self.given)} "
                "GroupNorms that were gathered hold none of its shape; this model calls its norms in another order "
                "each time. Use the statistics of each tile alone."
            )
        return group_norm_with(input, num_groups, self.given[call], weight, bias, eps)

    def _of_core(self, x: Tensor) -> Tensor:
        """The part of a norm's input that belongs to the tile's core."""
        x = self._as_map(x)
        for dim, axis in ((-2, "h"), (-1, "w")):
            start, size = self.core[axis].start - self.spans[axis].start, len(self.core[axis])
            x = x.narrow(dim, start * self.scale, size * self.scale)
        return x

    def _as_map(self, x: Tensor) -> Tensor:
        """``b c * h w``; some attentions flatten it to ``b c n``, at the resolution of the norm before."""
        h, w = len(self.spans["h"]), len(self.spans["w"])
        if x.ndim >= 4 and x.shape[-2] % h == 0 and x.shape[-2] // h * w == x.shape[-1]:
            self.scale = x.shape[-2] // h
            return x
        if x.ndim == 3 and x.shape[-1] % (h * w * self.scale**2) == 0:
            return rearrange(x, "b c (t h w) -> b c t h w", h=h * self.scale, w=w * self.scale)
        raise ModelError(
            f"GroupNorm of {tuple(x.shape)} in a tile of {h} x {w} latent cells: neither its last two dims nor the "
            "last one are a map of them. Use the statistics of each tile alone."
        )
