"""The plans to choose among: for a model, an input and a number of ranks, every mode in its sensible shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.assignment import Assignment
from toolkit.geometry.blend import Blend
from toolkit.geometry.grid import TileGrid
from toolkit.geometry.plan import WHOLE
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.tile_plan import TilePlan
from toolkit.geometry.topology import Topology
from toolkit.models.autoencoders.autoencoder_table import recipe_of
from toolkit.models.autoencoders.exact_grid import grid_beyond
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.receptive import receptive_field
from toolkit.models.autoencoders.sharding import sharding_of
from toolkit.models.autoencoders.tiling import input_ratio, read_tiling
from toolkit.models.protocols import Autoencoder

DEFAULT_TILE, DEFAULT_OVERLAP = 32, 8
FEW = 4
"""Number of ranks up to which plans for fewer ranks are candidates, too."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to make a call.

    Attributes:
        name: The plan in words.
        plan: The plan; None for the model's own call.
        exact: Whether the result equals that of the whole call, to rounding.
    """

    name: str
    plan: TilePlan | ShardPlan | None
    exact: bool


@dataclass(frozen=True, slots=True)
class Task:
    """One call to divide over ranks.

    Attributes:
        vae: The model.
        shape: The shape of the call's input.
        call: The model call to make.
        ranks: Number of ranks that there are.
        topology: The hosts that they are on; None: all on one.
    """

    vae: Autoencoder
    shape: tuple[int, ...]
    call: ModelCall
    ranks: int
    topology: Topology | None = None

    @property
    def extent(self) -> dict[str, int]:
        """Size of the map, in latent cells."""
        ratio = input_ratio(self.vae, self.call.direction.value)
        return {"h": self.shape[-2] // ratio, "w": self.shape[-1] // ratio}

    @property
    def notes(self) -> tuple[str, ...]:
        """The kinds of plan that are not offered, and why."""
        try:
            sharding_of(self.vae, self.call)
        except ModelError as error:
            return (str(error),)
        return ()

    def candidates(self) -> Iterator[Candidate]:
        """Every plan that the class allows."""
        yield Candidate(WHOLE.summary, None, exact=True)
        seen: set[TileGrid] = set()
        for ranks in self._counts():
            yield from self._shards(ranks)
            yield from self._tiles(ranks, seen)

    def _counts(self) -> list[int]:
        """All ranks; half of them; and, of few, every number. Ranks that share a processor may be quicker as fewer."""
        counts = range(self.ranks, 1, -1) if self.ranks <= FEW else (self.ranks, self.ranks // 2)
        return list(counts) or [1]

    def _shards(self, ranks: int) -> Iterator[Candidate]:
        if self.notes or ranks == 1:
            return
        for candidate in (ShardPlan(parts["h"], parts["w"]) for parts in _divisions(ranks)):
            try:
                candidate.parts(self.extent)
            except PlanError:
                continue
            # Without a topology, and where rows are as good as blocks, both are the same plan.
            placed = candidate if self.topology is None else candidate.on(self.topology, self.extent)
            for one in dict.fromkeys((candidate, placed)):
                yield Candidate(one.summary, one, exact=True)

    def _tiles(self, ranks: int, seen: set[TileGrid]) -> Iterator[Candidate]:
        try:
            recipe_of(self.vae)
        except ModelError:
            return
        for grid, exact in (*self._grids(ranks), *self._exact_grids(ranks)):
            if len(grid) == 1 or grid in seen:
                continue
            seen.add(grid)
            blend = Blend.crop() if exact else Blend.linear()
            name = f"{len(grid)} tiles of {' x '.join(str(len(row[0])) for row in grid.rows)} over {ranks} ranks"
            assignment = Assignment.balanced(grid, ranks, topology=self.topology)
            yield Candidate(name, TilePlan(grid, blend, assignment), exact)

    def _grids(self, ranks: int) -> Iterator[tuple[TileGrid, bool]]:
        """The class's own tiles, evenly spaced; and larger tiles with the same overlap, one per rank."""
        try:
            own = read_tiling(self.vae, self.call.direction)
            tile = {axis: own[axis].tile for axis in self.extent}
            overlap = {axis: own[axis].tile - own[axis].stride for axis in self.extent}
        except (ModelError, PlanError):
            tile, overlap = dict.fromkeys(self.extent, DEFAULT_TILE), dict.fromkeys(self.extent, DEFAULT_OVERLAP)
        yield TileGrid.cover(self.extent, tile, overlap), False
        for parts in _divisions(ranks):
            larger = self._tile_of(parts, overlap)
            yield TileGrid.cover(self.extent, larger, {a: min(overlap[a], larger[a] - 1) for a in larger}), False

    def _exact_grids(self, ranks: int) -> Iterator[tuple[TileGrid, bool]]:
        """Tiles that overlap by the receptive field, one per rank."""
        if next(iter(self.vae.parameters())).is_meta:
            # The receptive field is found with a call on data.
            return
        try:
            field = receptive_field(self.vae, self.call.direction, self.call.options.arguments, self.shape)
        except ModelError:
            return
        overlap = {axis: 2 * halo.widest for axis, halo in field.halo.items()}
        for parts in _divisions(ranks):
            if field.local:
                yield grid_beyond(field, self.extent, tile=self._tile_of(parts, overlap)), True

    def _tile_of(self, parts: Mapping[str, int], overlap: Mapping[str, int]) -> dict[str, int]:
        """The size of a tile, so that ``parts`` of them cover each axis."""
        tile = {}
        for axis, extent in self.extent.items():
            size = -(-(extent + (parts[axis] - 1) * overlap[axis]) // parts[axis])
            tile[axis] = min(extent, max(size, overlap[axis] + 1))
        return tile


def _divisions(ranks: int) -> Iterator[dict[str, int]]:
    """Every h by w with as many parts as there are ranks."""
    for h in range(1, ranks + 1):
        if ranks % h == 0:
            yield {"h": h, "w": ranks // h}
