"""Assignments: which rank computes which tile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heapify, heapreplace

from toolkit.errors import PlanError
from toolkit.geometry.checks import check_counts, check_ints, check_kind, check_parts, check_tuple, shown
from toolkit.geometry.drawing.html_views import assignment_view
from toolkit.geometry.grid import Tile, TileGrid
from toolkit.geometry.tile_hosts import neighbours_together
from toolkit.geometry.topology import Topology, hosts_of


def tile_cells(tile: Tile) -> float:
    """The default cost of a tile: the cells computed for it."""
    return tile.cells


@dataclass(frozen=True, repr=False)
class Assignment:
    """The rank of each tile, by tile index.

    Attributes:
        owners: ``owners[i]`` is the rank that computes tile ``i``.
        ranks: Number of ranks; ranks without a tile are idle.

    Raises:
        PlanError: If an owner is not one of the ranks, or there is no tile.

    Example:
        >>> grid = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)
        >>> Assignment.contiguous(grid, ranks=5)
        Assignment(12 tiles over 5 ranks: 3 3 2 2 2)
    """

    owners: tuple[int, ...]
    ranks: int

    def __post_init__(self) -> None:
        check_counts(ranks=self.ranks)
        check_tuple("owners", self.owners, kind=int, what="ints, the rank of each tile")
        if not self.owners:
            raise PlanError("owners is empty: an assignment needs at least 1 tile.")
        if not all(0 <= owner < self.ranks for owner in self.owners):
            least, most = shown(min(self.owners)), shown(max(self.owners))
            raise PlanError(f"owners {least}..{most} must lie in 0..{self.ranks - 1}.")
        check_parts(len(self.owners), what="owners")

    @classmethod
    def balanced(
        cls,
        grid: TileGrid,
        ranks: int,
        cost: Callable[[Tile], float] | None = None,
        topology: Topology | None = None,
    ) -> Assignment:
        """Give the most expensive remaining tile to the rank with the least work, the lowest rank on ties.

        This is longest processing time first (Graham 1969): the busiest rank gets at most 4/3 of the best possible.

        With a topology, neighbouring tiles go to one host. Of the assignments whose busiest rank has no more work than
        without a topology, the search takes the one that sends the fewest cells between hosts if the output is wanted
        on the first host: edges of tiles, and finished parts. It never sends more than without a topology.

        Args:
            grid: The tiles.
            ranks: Number of ranks that share them.
            cost: The cost of a tile in any unit; its number of cells by default.
            topology: The hosts that the ranks are on; None: all on one. It may have more ranks than these.

        Raises:
            PlanError: If ``ranks`` is below 1, a cost is negative or not a number, or the topology has too few ranks.

        Example:
            >>> grid = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)
            >>> Assignment.balanced(grid, ranks=4).owners
            (0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3)
            >>> Assignment.balanced(grid, ranks=4, topology=Topology(hosts=2, per_host=2)).owners
            (3, 2, 1, 0, 3, 2, 1, 0, 3, 2, 1, 0)
        """
        _check(grid, ranks)
        if cost is not None and not callable(cost):
            raise PlanError(f"cost={shown(cost)}: must be a function of a tile, or None for its number of cells.")
        if topology is not None:
            hosts = hosts_of(topology, ranks)
        costs = [_as_cost((cost or tile_cells)(tile)) for tile in grid.tiles]
        load = [(0.0, 0, rank) for rank in range(ranks)]
        heapify(load)
        owners = [0] * len(grid)
        for index in sorted(range(len(grid)), key=lambda i: -costs[i]):
            work, count, rank = load[0]
            owners[index] = rank
            # Ties in work are broken by the number of tiles: otherwise tiles that cost nothing all go to one rank.
            heapreplace(load, (work + costs[index], count + 1, rank))
        if topology is not None:
            return cls(neighbours_together(grid, costs, owners, hosts), ranks)
        return cls(tuple(owners), ranks)

    @classmethod
    def round_robin(cls, grid: TileGrid, ranks: int) -> Assignment:
        """Deal the tiles out like cards: tile ``i`` goes to rank ``i % ranks``."""
        _check(grid, ranks)
        return cls(tuple(index % ranks for index in range(len(grid))), ranks)

    @classmethod
    def contiguous(cls, grid: TileGrid, ranks: int) -> Assignment:
        """Give each rank a run of consecutive tiles; lengths differ by at most one, longer runs first.

        Example:
            >>> grid = TileGrid.cover({"w": 9}, tile=1)
            >>> Assignment.contiguous(grid, ranks=4).owners
            (0, 0, 0, 1, 1, 2, 2, 3, 3)
        """
        _check(grid, ranks)
        short, longer = divmod(len(grid), ranks)
        counts = (short + (rank < longer) for rank in range(ranks))
        return cls(tuple(rank for rank, count in enumerate(counts) for _ in range(count)), ranks)

    def tiles_of(self, rank: int) -> tuple[int, ...]:
        """Indices of the tiles of ``rank``, in ascending order; none for a rank that only a larger group has."""
        check_ints(0, rank=rank)
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
        return assignment_view(
            self.owners, self.counts, facts=f"{len(self.owners)} tiles over {self.ranks} ranks{idle}"
        )


def _check(grid: TileGrid, ranks: int) -> None:
    check_kind("grid", grid, kind=TileGrid, remedy="a TileGrid, such as TileGrid.cover(...) returns")
    check_counts(ranks=ranks)


def _as_cost(value: object) -> float:
    """What a cost function gave, as a float; infinity is allowed, and makes a tile the first to be given out."""
    try:
        cost = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        cost = -1.0
    if not cost >= 0:
        raise PlanError(f"cost gave {shown(value)}: costs must be numbers of at least 0.")
    return cost


def _short(values: Iterable[int], limit: int = 12) -> str:
    values = list(values)
    shown = " ".join(map(str, values[:limit]))
    return shown if len(values) <= limit else f"{shown} ..."
