"""Assignments: which rank computes which tile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heapify, heapreplace

from toolkit.errors import PlanError
from toolkit.geometry.drawing.html_views import assignment_view
from toolkit.geometry.grid import Tile, TileGrid


def tile_cells(tile: Tile) -> float:
    """The default cost of a tile: the cells computed for it."""
    return tile.cells


@dataclass(frozen=True, repr=False)
class Assignment:
    """The rank of each tile, by tile index.

    Attributes:
        owners: ``owners[i]`` is the rank that computes tile ``i``.
        ranks: how many ranks there are; those without a tile are idle.

    Example:
        >>> grid = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)
        >>> Assignment.contiguous(grid, ranks=5)
        Assignment(12 tiles over 5 ranks: 3 3 2 2 2)
    """

    owners: tuple[int, ...]
    ranks: int

    def __post_init__(self) -> None:
        if self.ranks < 1:
            raise PlanError(f"ranks={self.ranks}: an assignment needs at least 1 rank.")
        if not self.owners:
            raise PlanError("owners is empty: an assignment needs at least 1 tile.")
        if not all(0 <= owner < self.ranks for owner in self.owners):
            raise PlanError(f"owners {min(self.owners)}..{max(self.owners)} must lie in 0..{self.ranks - 1}.")

    @classmethod
    def balanced(cls, grid: TileGrid, ranks: int, cost: Callable[[Tile], float] | None = None) -> Assignment:
        """Give the costliest tile that is left to the rank with the least work, the lowest of equals.

        Longest processing time first (Graham 1969): never over 4/3 of the best possible maximum.

        Args:
            grid: the tiles.
            ranks: how many ranks share them.
            cost: cost of a tile in any unit; its cells by default.

        Raises:
            PlanError: for ``ranks`` below 1 or a cost that is negative or not a number.
        """
        _check_ranks(ranks)
        costs = [float((cost or tile_cells)(tile)) for tile in grid.tiles]
        if wrong := [value for value in costs if not value >= 0]:
            raise PlanError(f"cost gave {wrong[0]}: costs must be numbers of at least 0.")
        load = [(0.0, 0, rank) for rank in range(ranks)]
        heapify(load)
        owners = [0] * len(grid)
        for index in sorted(range(len(grid)), key=lambda i: -costs[i]):
            work, count, rank = load[0]
            owners[index] = rank
            # Counting tiles after work keeps ranks from starving where tiles cost nothing.
            heapreplace(load, (work + costs[index], count + 1, rank))
        return cls(tuple(owners), ranks)

    @classmethod
    def round_robin(cls, grid: TileGrid, ranks: int) -> Assignment:
        """Deal the tiles out like cards: tile ``i`` to rank ``i % ranks``."""
        _check_ranks(ranks)
        return cls(tuple(index % ranks for index in range(len(grid))), ranks)

    @classmethod
    def contiguous(cls, grid: TileGrid, ranks: int) -> Assignment:
        """Consecutive runs whose lengths differ by at most one; the first ranks have the longer ones.

        Example:
            >>> grid = TileGrid.cover({"w": 9}, tile=1)
            >>> Assignment.contiguous(grid, ranks=4).owners
            (0, 0, 0, 1, 1, 2, 2, 3, 3)
        """
        _check_ranks(ranks)
        short, longer = divmod(len(grid), ranks)
        counts = (short + (rank < longer) for rank in range(ranks))
        return cls(tuple(rank for rank, count in enumerate(counts) for _ in range(count)), ranks)

    def tiles_of(self, rank: int) -> tuple[int, ...]:
        """Indices of the tiles of ``rank``, ascending."""
        return tuple(index for index, owner in enumerate(self.owners) if owner == rank)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of tiles of each rank."""
        counts = [0] * self.ranks
        for owner in self.owners:
            counts[owner] += 1
        return tuple(counts)

    @property
    def idle(self) -> tuple[int, ...]:
        """Ranks without a tile."""
        return tuple(rank for rank, count in enumerate(self.counts) if count == 0)

    def __repr__(self) -> str:
        return f"Assignment({len(self.owners)} tiles over {self.ranks} ranks: {_short(self.counts)})"

    def _repr_html_(self) -> str:
        idle = f", {len(self.idle)} of them idle" if self.idle else ""
        return assignment_view(self.owners, self.counts, f"{len(self.owners)} tiles over {self.ranks} ranks{idle}")


def _short(values: Iterable[int], limit: int = 12) -> str:
    values = list(values)
    shown = " ".join(map(str, values[:limit]))
    return shown if len(values) <= limit else f"{shown} ..."


def _check_ranks(ranks: int) -> None:
    if isinstance(ranks, bool) or not isinstance(ranks, int) or ranks < 1:
        raise PlanError(f"ranks={ranks!r}: must be an int of at least 1.")
