"""GroupNorm in tiles by statistics of all tiles, so that a tile's colours do not shift with its own brightness.

All tiles are computed once more before the run, only to take the moments of what enters each GroupNorm. A tile counts
its core alone, so no cell counts twice. The moments of all tiles are merged layer by layer, and then every tile is
normalised by the merged ones.

         tile 0                   tile 1
        +---------------+
        |     core      |         moments of layer k over both cores
        |        +------+--------+            |
        +--------+------+        |            v
                 |     core      |      GroupNorm k of every tile
                 +---------------+

The moments of the first layer are those of the whole map. Those of deeper layers come from tiles whose earlier layers
were normalised on their own; further passes bring them closer. It is not an exact mode.
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
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.tile_coder import TileCoder
from toolkit.models.autoencoders.tiling import spatial_ratio
from toolkit.numerics.statistics import Moments, group_norm_with, moments_of

Statistics = tuple[Moments, ...]
"""Moments for each GroupNorm call of a tile, in the order of the calls."""


def tile_statistics(coder: TileCoder, x: Tensor, *, tile: Tile, given: Statistics | None = None) -> Statistics:
    """Compute a tile only for the moments of its core at each GroupNorm.

    Args:
        coder: The model and its grid.
        x: The whole input.
        tile: The tile to compute.
        given: Moments to normalise by; None: the tile's own.

    Raises:
        ModelError: If the input of a GroupNorm cannot be placed on the map.
    """
    norms = tile_norms(coder, tile, given=given, record=True)
    with norms:
        coder(x, tile)
    return tuple(norms.recorded)


def merge_statistics(parts: Mapping[int, Statistics]) -> Statistics:
    """Merge the moments of all tiles.

    Args:
        parts: Each tile's statistics by the tile's index. They are merged in the order of the index, so that the
            result does not depend on which rank computed which tile.

    Raises:
        ModelError: If tiles called GroupNorm a different number of times, or never.
    """
    tiles = [parts[index] for index in sorted(parts)]
    if not any(tiles):
        raise ModelError("the model calls no GroupNorm, so there are no statistics to gather: use norm_passes=0.")
    if len({len(tile) for tile in tiles}) > 1:
        raise ModelError(
            f"tiles call GroupNorm {min(map(len, tiles))} to {max(map(len, tiles))} times, so their statistics cannot "
            "be matched: use tiles of one size, or norm_passes=0."
        )
    return tuple(Moments.merge(layer) for layer in zip(*tiles, strict=True))


def global_statistics(coder: TileCoder, x: Tensor, *, passes: int = 1) -> Statistics:
    """Gather the statistics of all tiles in this process.

    Args:
        coder: The model, borrowed, and its grid.
        x: The whole input.
        passes: How many times all tiles are computed: the first time by their own statistics, then by those of the
            pass before.

    Raises:
        PlanError: If there is not at least one pass, or the grid has an axis ``t``.
    """
    check_passes(passes, coder.grid)
    merged = None
    for _ in range(passes):
        merged = merge_statistics(
            {tile.index: tile_statistics(coder, x, tile=tile, given=merged) for tile in coder.grid.tiles}
        )
    assert merged is not None
    return merged


@dataclass(frozen=True, slots=True)
class NormedCoder(TileCoder):
    """A coder whose GroupNorms use given statistics.

    Attributes:
        statistics: The statistics of all tiles.
    """

    statistics: Statistics | None = None

    @classmethod
    def over(cls, coder: TileCoder, statistics: Statistics) -> NormedCoder:
        """Make a coder like another, with statistics."""
        return cls(**{field.name: getattr(coder, field.name) for field in fields(coder)}, statistics=statistics)

    def __call__(self, x: Tensor, tile: Tile) -> Tensor:
        """Compute one tile, normalised as a part of the whole."""
        with tile_norms(self, tile, given=self.statistics):
            # slots=True makes a second class, which the zero-argument super() of this body does not know.
            return TileCoder.__call__(self, x, tile)


def check_passes(passes: int, grid: TileGrid) -> None:
    """Refuse what :func:`global_statistics` cannot do.

    Raises:
        PlanError: If there is not at least one pass, or the grid has an axis ``t``.
    """
    if isinstance(passes, bool) or not isinstance(passes, int) or passes < 1:
        raise PlanError(f"passes={passes!r}: must be an int of at least 1.")
    if "t" in grid.axes:
        raise PlanError(
            f"grid axes {grid.axes}: statistics of all tiles are for grids along h and w. Use norm_passes=0, or a grid "
            "without t."
        )


def tile_norms(coder: TileCoder, tile: Tile, *, given: Statistics | None, record: bool = False) -> TileNorms:
    """Make the context in which a coder computes one tile.

    Args:
        coder: The model and its grid.
        tile: The tile.
        given: Moments to normalise by; None: each GroupNorm's own.
        record: Whether to record the moments of the tile's core.
    """
    # The extent of the latent, read off the output; an axis that the grid does not divide is whole in every tile.
    scale = spatial_ratio(coder.vae) if coder.call.direction == Direction.DECODE else 1
    whole = {axis: Span(0, coder.shape[dim] // scale) for axis, dim in (("h", -2), ("w", -1))}
    return TileNorms({**whole, **tile.spans}, {**whole, **tile.core}, given, record)


@dataclass(eq=False)
class TileNorms(TorchFunctionMode):
    """A context for one tile, in which GroupNorms use given moments and those of the core are recorded.

    Attributes:
        spans: The tile along h and w, in latent cells.
        core: Its core.
        given: Moments for each call; None: each call's own.
        record: Whether to record the core's moments.
        recorded: The core's moments at each call.
        calls: The number of calls so far.
        scale: Cells of the map per latent cell, at the last call.
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
        # nn.GroupNorm and diffusers call one of these two; within the mode's own code torch switches the mode off.
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
        """Normalise by the moments of all tiles; the parameters are those of ``torch.group_norm``."""
        call, self.calls = self.calls, self.calls + 1
        if self.record:
            self.recorded.append(moments_of(self._of_core(input), num_groups))
        if self.given is None:
            return func(input, num_groups, weight, bias, eps)
        # A model that calls its norms in another order would silently be given another layer's moments, so at least
        # their number and shape must fit.
        if call >= len(self.given) or self.given[call].mean.shape != (len(input), num_groups):
            raise ModelError(
                f"GroupNorm {call} of {tuple(input.shape)} in {num_groups} groups does not match the statistics that "
                f"were gathered for {len(self.given)} GroupNorms: this model calls its norms in another order each "
                "time. Use norm_passes=0."
            )
        return group_norm_with(input, num_groups, moments=self.given[call], weight=weight, bias=bias, eps=eps)

    def _of_core(self, x: Tensor) -> Tensor:
        """Cut the part of a norm's input that belongs to the tile's core."""
        x = self._as_map(x)
        for dim, axis in ((-2, "h"), (-1, "w")):
            start, size = self.core[axis].start - self.spans[axis].start, len(self.core[axis])
            x = x.narrow(dim, start * self.scale, size * self.scale)
        return x

    def _as_map(self, x: Tensor) -> Tensor:
        """Return a norm's input as ``b c * h w``, and note how many of its cells make a latent cell."""
        h, w = len(self.spans["h"]), len(self.spans["w"])
        if x.ndim >= 4 and x.shape[-2] % h == 0 and x.shape[-2] // h * w == x.shape[-1]:
            self.scale = x.shape[-2] // h
            return x
        # Some attentions flatten the map to b c n before they normalise it, at the resolution of the norm before.
        if x.ndim == 3 and x.shape[-1] % (h * w * self.scale**2) == 0:
            return rearrange(x, "b c (t h w) -> b c t h w", h=h * self.scale, w=w * self.scale)
        raise ModelError(
            f"GroupNorm of {tuple(x.shape)} in a tile of {h} x {w} latent cells: neither its last two dims nor its "
            "last one are a map of them. Use norm_passes=0."
        )
