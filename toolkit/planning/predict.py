"""Predictions for each way to divide a call over ranks: time, memory, exactness."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.assignment import Assignment
from toolkit.geometry.blend import Blend
from toolkit.geometry.grid import TileGrid
from toolkit.geometry.plan import WHOLE, Plan
from toolkit.geometry.shard_plan import AXES, ShardPlan
from toolkit.geometry.tile_plan import TilePlan
from toolkit.models.autoencoders.autoencoder_table import recipe_of
from toolkit.models.autoencoders.exact_grid import grid_beyond
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.receptive import receptive_field
from toolkit.models.autoencoders.sharding import sharding_of
from toolkit.models.autoencoders.tiling import read_tiling, spatial_ratio
from toolkit.models.protocols import Autoencoder
from toolkit.planning.cost import CallCost
from toolkit.runs.run import Run

DEFAULT_TILE, DEFAULT_OVERLAP = 32, 8


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction for one plan.

    Attributes:
        name: The plan in words.
        plan: The plan; None for the model's own call.
        time: Computing time of the busiest rank, over that of one rank that computes the whole.
        peak: The most bytes on any rank: weights, output and working memory.
        exact: Whether the result equals that of the whole call, to rounding.
    """

    name: str
    plan: TilePlan | ShardPlan | None
    time: float
    peak: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Task:
    """One call to divide over ranks."""

    vae: Autoencoder
    shape: tuple[int, ...]
    call: ModelCall
    ranks: int
    cost: CallCost

    @property
    def extent(self) -> dict[str, int]:
        """Size of the map, in latent cells."""
        ratio = 1 if self.call.direction == "decode" else spatial_ratio(self.vae)
        return {"h": self.shape[-2] // ratio, "w": self.shape[-1] // ratio}

    @property
    def cells(self) -> int:
        """Latent cells of the whole."""
        return self.extent["h"] * self.extent["w"]

    @property
    def seconds(self) -> float:
        """Seconds that one rank would take for the whole."""
        return self.cells * self.cost.seconds

    @property
    def normalises(self) -> bool:
        """Whether one of the model's norms sees the whole map."""
        return any(isinstance(module, nn.GroupNorm) for module in self.vae.modules())

    @property
    def notes(self) -> tuple[str, ...]:
        """The kinds of plan that are not offered, and why."""
        try:
            sharding_of(self.vae, self.call)
        except ModelError as error:
            return (str(error),)
        return ()

    def predictions(self) -> Iterator[Prediction]:
        """A prediction for every plan that the class allows."""
        whole = max(rank_peaks(WHOLE, self.extent, cost=self.cost)) + self.cost.weight_bytes
        yield Prediction(WHOLE.summary, None, 1.0, whole, exact=True)
        yield from self._shards()
        yield from self._tiles()

    def _shards(self) -> Iterator[Prediction]:
        if self.notes or self.ranks == 1:
            return
        for candidate in (ShardPlan(parts["h"], parts["w"]) for parts in self._divisions()):
            try:
                parts = candidate.parts(self.extent)
            except PlanError:
                continue
            cells = max(parts["h"]) * max(parts["w"])
            peak = max(rank_peaks(candidate, self.extent, cost=self.cost)) + self.cost.weight_bytes
            yield Prediction(candidate.summary, candidate, cells / self.cells, peak, exact=True)

    def _tiles(self) -> Iterator[Prediction]:
        try:
            recipe_of(self.vae)
        except ModelError:
            return
        seen = set()
        for grid, exact in (*self._grids(), *self._exact_grids()):
            if len(grid) == 1 or grid in seen:
                continue
            seen.add(grid)
            blend = Blend.crop() if exact else Blend.linear()
            tiles = TilePlan(grid, blend, Assignment.balanced(grid, self.ranks))
            peak = max(rank_peaks(tiles, self.extent, cost=self.cost)) + self.cost.weight_bytes
            name = f"{len(grid)} tiles of {' x '.join(str(len(row[0])) for row in grid.rows)}"
            yield Prediction(name, tiles, max(tiles.work) / self.cells, peak, exact)

    def _grids(self) -> Iterator[tuple[TileGrid, bool]]:
        """The class's own tiles, evenly spaced; and larger tiles with the same overlap, one per rank."""
        try:
            own = read_tiling(self.vae, self.call.direction)
            tile = {axis: own[axis].tile for axis in self.extent}
            overlap = {axis: own[axis].tile - own[axis].stride for axis in self.extent}
        except (ModelError, PlanError):
            tile, overlap = dict.fromkeys(self.extent, DEFAULT_TILE), dict.fromkeys(self.extent, DEFAULT_OVERLAP)
        yield TileGrid.cover(self.extent, tile, overlap), False
        for parts in self._divisions():
            larger = self._tile_of(parts, overlap)
            yield TileGrid.cover(self.extent, larger, {a: min(overlap[a], larger[a] - 1) for a in larger}), False

    def _exact_grids(self) -> Iterator[tuple[TileGrid, bool]]:
        """Tiles that overlap by the receptive field, one per rank."""
        try:
            field = receptive_field(self.vae, self.call.direction, self.call.options.arguments, self.shape)
        except ModelError:
            return
        overlap = {axis: 2 * halo.widest for axis, halo in field.halo.items()}
        for parts in self._divisions():
            if field.local:
                yield grid_beyond(field, self.extent, tile=self._tile_of(parts, overlap)), True

    def _divisions(self) -> Iterator[dict[str, int]]:
        """Every h by w with as many parts as there are ranks."""
        for h in range(1, self.ranks + 1):
            if self.ranks % h == 0:
                yield {"h": h, "w": self.ranks // h}

    def _tile_of(self, parts: Mapping[str, int], overlap: Mapping[str, int]) -> dict[str, int]:
        """The size of a tile, so that ``parts`` of them cover each axis."""
        tile = {}
        for axis, extent in self.extent.items():
            size = -(-(extent + (parts[axis] - 1) * overlap[axis]) // parts[axis])
            tile[axis] = min(extent, max(size, overlap[axis] + 1))
        return tile


def rank_peaks(plan: Plan, extent: Mapping[str, int], *, cost: CallCost) -> tuple[int, ...]:
    """The most bytes that each rank may hold at one time, without weights: output and working memory.

    Args:
        plan: How the call is divided.
        extent: Latent cells along each axis, ``t`` included where the plan's grid has it.
        cost: The cost of a cell, all its frames together.

    Example:
        >>> rank_peaks(ShardPlan(h=2), {"h": 6, "w": 5}, cost=CallCost(1000, 100, 0, 0.0))
        (22500, 19500)
    """
    return plan.rank_peaks(extent, output=cost.output_bytes, working=cost.working_bytes)


def latent_extent(run: Run) -> dict[str, int] | None:
    """Latent cells along each axis of a decode's or encode's input; None if the run does not say."""
    if run.way.seam_grid is not None:
        return run.way.seam_grid.extent
    shape, call = run.record.input.get("shape"), run.record.what.get("call")
    if not shape or call not in ("decode", "encode") or (call == "encode" and not run.ratio):
        return None
    sizes = dict(zip(AXES, shape[-2:], strict=True))
    return sizes if call == "decode" else {axis: size // run.ratio[axis] for axis, size in sizes.items()}


def in_bytes(count: int) -> str:
    """A number of bytes in words."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
