"""Going on without a worker that is lost: its unfinished tiles are dealt to the others, finished ones are kept.

Tiles come to this process raw, as soon as they are computed, and no worker waits for another one. When all are there,
one worker merges them, by the code of every other run. So the output has the same bits, whoever was lost, and whenever.
It costs memory here for all raw tiles, and a way to the kernel and back for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from toolkit.cluster.calls import Calls
from toolkit.cluster.engines.listener import Listener
from toolkit.cluster.tiles_on_rank import merge_on_rank, raw_tiles_on_rank
from toolkit.errors import PlanError, RankDied
from toolkit.geometry.plan import Plan
from toolkit.geometry.tile_plan import TilePlan
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.runs.memory import MemoryCurve


def check_going_on(plan: Plan, call: ModelCall, *, streamed: bool) -> None:
    """Refuse what depends on every rank to the end.

    Raises:
        PlanError: If the plan has no tiles, or ranks exchange statistics, or the output is streamed.
    """
    if not isinstance(plan, TilePlan):
        raise PlanError(f"on_loss='continue' with {plan}: only tiles can be computed by others. Give a TilePlan.")
    if call.options.norm_passes:
        raise PlanError("on_loss='continue' with norm_passes: statistics are all ranks'. Leave one of them out.")
    if streamed:
        raise PlanError("on_loss='continue' with stream=: bands come in order from the root. Leave one of them out.")


@dataclass(slots=True)
class GoingOn:
    """One decode or encode by tiles, through the loss of workers.

    Attributes:
        calls: The cluster's workers.
        plan: How the work is divided at first.
        listener: Hears what the workers report.
        args: The model and the input, as the workers take them.
        kwargs: What else :func:`raw_tiles_on_rank` takes, but for its tiles.
        before: The errors of workers that were lost before the first tile, and have been replaced.
        raw: The tiles that have come, by index.
        lost: The error of each worker that was lost, by rank.
        curves: Memory by rank, of those that finished.
    """

    calls: Calls
    plan: TilePlan
    listener: Listener
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    before: list[RankDied] = field(default_factory=list)
    raw: dict[int, Tensor] = field(default_factory=dict)
    lost: dict[int, RankDied] = field(default_factory=dict)
    curves: dict[int, MemoryCurve] = field(default_factory=dict)

    def run(self) -> Tensor:
        """The output.

        Raises:
            RankDied: If no worker is left.
            RunError: If a worker failed in another way than by its end, or the run was given up.
        """
        try:
            tiles: Mapping[int, Sequence[int]] = {
                rank: self.plan.assignment.tiles_of(rank) for rank in range(self.plan.ranks)
            }
            while len(self.raw) < len(self.plan.grid):
                self._compute(tiles)
                missing = [tile.index for tile in self.plan.grid.tiles if tile.index not in self.raw]
                tiles = dealt(missing, self._alive())
            return self._merge()
        finally:
            if self.lost:
                # Those that are left have a group with a dead member.
                self.calls.drop_workers()

    @property
    def notes(self) -> dict[str, Any]:
        """What the record says of it."""
        every = [*self.before, *self.lost.values()]
        return {"ranks lost": {str(error.rank): str(error) for error in every}} if every else {}

    def _compute(self, tiles: Mapping[int, Sequence[int]]) -> None:
        ranks = [rank for rank, some in tiles.items() if some]
        listener = replace(self.listener, on_band=self._keep, on_loss=self._note)
        kwargs = {**self.kwargs, "tiles": tiles}
        found = self.calls.call(ranks, raw_tiles_on_rank, self.args, kwargs, listener, wants_context=True)
        self.curves |= found

    def _keep(self, raw: Tensor, index: int) -> None:
        self.raw[index] = raw

    def _note(self, error: RankDied) -> None:
        self.lost[error.rank] = error

    def _alive(self) -> list[int]:
        alive = [rank for rank in range(self.plan.ranks) if rank not in self.lost]
        if not alive:
            raise list(self.lost.values())[-1]
        return alive

    def _merge(self) -> Tensor:
        kwargs = {name: self.kwargs[name] for name in ("plan", "call", "origin")} | {"raw": self.raw}
        while True:
            alive = self._alive()
            rank = self.plan.root if self.plan.root in alive else alive[0]
            listener = replace(self.listener, on_loss=self._note)
            found = self.calls.call([rank], merge_on_rank, self.args, kwargs, listener, wants_context=True)
            if found:
                return found[rank]


def dealt(tiles: Sequence[int], ranks: Sequence[int]) -> dict[int, list[int]]:
    """Deal tiles to ranks, one after the other.

    Example:
        >>> dealt([3, 4, 5], [0, 2])
        {0: [3, 5], 2: [4]}
    """
    return {rank: list(tiles[place :: len(ranks)]) for place, rank in enumerate(ranks)}
