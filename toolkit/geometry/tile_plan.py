"""Tile plans: a grid, a blend and an assignment, with what they will cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

from toolkit.errors import PlanError
from toolkit.geometry.assignment import Assignment
from toolkit.geometry.blend import Blend
from toolkit.geometry.drawing.html_views import plan_view
from toolkit.geometry.edges import Edge, all_edges
from toolkit.geometry.grid import TileGrid

RECEIVES_IN_FLIGHT = 4
"""How many receives the root keeps posted while it collects."""


@dataclass(frozen=True, slots=True)
class RankCost:
    """What a plan asks of one rank, in latent cells.

    Attributes:
        rank: the rank.
        tiles: number of its tiles.
        work: cells that it computes.
        sent: cells that it sends: edges to the ranks of later tiles, and its part of the result to the root.
        received: cells that it receives.
        kept: finished cells that it holds until they are sent (the root: until the end).
        edges: most edge cells that it may have to hold at one time.
        largest: cells of its largest tile.
    """

    rank: int
    tiles: int
    work: int
    sent: int
    received: int
    kept: int
    edges: int
    largest: int


@dataclass(frozen=True, repr=False)
class TilePlan:
    """How one latent is computed in tiles over ranks.

    Attributes:
        grid: which boxes are computed on their own.
        blend: how they become one sample.
        assignment: which rank computes which tile.
        root: the rank that ends up with the whole output.

    Raises:
        PlanError: where the assignment is not for this grid, or ``root`` is not one of its ranks.

    Example:
        >>> grid = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)
        >>> plan = TilePlan(grid, Blend.linear(), Assignment.balanced(grid, ranks=2))
        >>> plan
        TilePlan(12 tiles over 2 ranks: 6 6; Blend.linear(), 1.60x the work, imbalance 1.00)
        >>> plan.work, plan.finish
        ((4992, 4992), 'shares')
    """

    grid: TileGrid
    blend: Blend
    assignment: Assignment
    root: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.blend, Blend):
            raise PlanError(f"blend={self.blend!r}: must be a Blend, as Blend.linear() makes one.")
        if len(self.assignment.owners) != len(self.grid):
            raise PlanError(
                f"the assignment deals out {len(self.assignment.owners)} tiles, the grid has {len(self.grid)}: "
                "make the assignment from this grid."
            )
        if not 0 <= self.root < self.ranks:
            raise PlanError(f"root={self.root}: must be one of the plan's {self.ranks} ranks, 0..{self.ranks - 1}.")

    def __reduce__(self) -> tuple[type[TilePlan], tuple[object, ...]]:
        return type(self), (self.grid, self.blend, self.assignment, self.root)

    @property
    def ranks(self) -> int:
        """Number of ranks, idle ones included."""
        return self.assignment.ranks

    @property
    def working(self) -> tuple[int, ...]:
        """The ranks that take part: those with a tile, and the one that the output goes to."""
        idle = set(self.assignment.idle) - {self.root}
        return tuple(rank for rank in range(self.ranks) if rank not in idle)

    @property
    def units(self) -> tuple[int, ...]:
        """What each rank reports as done, one by one: its tiles."""
        return self.assignment.counts

    @property
    def summary(self) -> str:
        """The plan in a few words."""
        return f"{len(self.grid)} tiles over {self.ranks} ranks"

    @property
    def finish(self) -> str:
        """Where overlaps are blended.

        ``"shares"``: every rank finishes its own tiles' shares after one exchange of raw edges. ``"tiles"``: where
        three tiles meet somewhere, raw tiles travel whole and the root blends them in order.
        """
        return "shares" if self.grid.pairwise else "tiles"

    @property
    def work(self) -> tuple[int, ...]:
        """Cells computed by each rank."""
        return tuple(cost.work for cost in self.costs)

    @property
    def imbalance(self) -> float:
        """The busiest rank's work over the mean of all ranks: 1.0 is perfect."""
        return max(self.work) * self.ranks / sum(self.work)

    @property
    def moved(self) -> int:
        """Cells sent between ranks in all."""
        return sum(cost.sent for cost in self.costs)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """The edges that cross from one rank to another, in the order that all ranks follow."""
        if self.finish == "tiles":
            return ()
        owners = self.assignment.owners
        return tuple(edge for edge in all_edges(self.grid) if owners[edge.source] != owners[edge.target])

    @cached_property
    def costs(self) -> tuple[RankCost, ...]:
        """What the plan asks of each rank."""
        owners, shared = self.assignment.owners, self.finish == "shares"
        tiles, work, sent, received, kept, largest = ([0] * self.ranks for _ in range(6))
        for tile, rank in zip(self.grid.tiles, owners, strict=True):
            part = tile.share_cells if shared else tile.cells
            tiles[rank] += 1
            work[rank] += tile.cells
            kept[rank] += part
            largest[rank] = max(largest[rank], tile.cells)
            if rank != self.root:
                sent[rank] += part
                received[self.root] += part
        for edge in self.edges:
            sent[owners[edge.source]] += edge.cells
            received[owners[edge.target]] += edge.cells
        columns = zip(tiles, work, sent, received, kept, self._edges_held(), largest, strict=True)
        return tuple(RankCost(rank, *values) for rank, values in enumerate(columns))

    def _edges_held(self) -> list[int]:
        """Most edge cells on each rank at one time.

        Edges between a rank's own tiles wait for one row of the grid at most. Those between ranks wait for as long as
        one rank is ahead of another, so all of them count.
        """
        held, rows = [0] * self.ranks, dict[tuple[int, int], int]()
        if self.finish == "tiles":
            return held
        owners, grid_tiles = self.assignment.owners, self.grid.tiles
        for tile in grid_tiles:
            row = owners[tile.index], tile.position[0]
            rows[row] = rows.get(row, 0) + tile.cells - tile.share_cells
        for (rank, _), cells in rows.items():
            held[rank] = max(held[rank], cells)
        for edge in self.edges:
            held[owners[edge.source]] += edge.cells
            held[owners[edge.target]] += edge.cells
        return held

    def bytes_moved(self, cell_bytes: int) -> int:
        """Bytes sent between ranks in all.

        Args:
            cell_bytes: bytes of sample per latent cell; for an 8x fp32 RGB decoder, ``8 * 8 * 3 * 4``.
        """
        return self.moved * cell_bytes

    def peaks(self, cell_bytes: int, working_bytes: int = 0) -> tuple[int, ...]:
        """The most bytes that each rank may hold at one time, weights and latent apart.

        The root: the output, the edges that wait, and either one tile's working memory or the receives in flight. The
        others: their finished shares, the edges that wait, and one tile's working memory.

        Args:
            cell_bytes: bytes of sample per latent cell.
            working_bytes: bytes that the model holds per latent cell while it computes a tile.

        Example:
            >>> grid = TileGrid.cover({"w": 64}, tile=32)
            >>> plan = TilePlan(grid, Blend.linear(), Assignment.round_robin(grid, 2))
            >>> plan.peaks(cell_bytes=100, working_bytes=1000)
            (38400, 35200)
        """
        whole = prod(self.grid.extent.values())
        largest = max(cost.largest for cost in self.costs)
        peaks = []
        for cost in self.costs:
            # A blend works on copies of one share and of one edge.
            working = max(cost.largest * working_bytes, 2 * cost.largest * cell_bytes)
            held = cost.kept + cost.edges
            if cost.rank == self.root:
                in_flight = min(RECEIVES_IN_FLIGHT, len(self.grid) - cost.tiles) * largest * cell_bytes
                working = max(working, in_flight)
                held = whole + (cost.edges if self.finish == "shares" else cost.kept)
            peaks.append(held * cell_bytes + working)
        return tuple(peaks)

    def __repr__(self) -> str:
        counts = repr(self.assignment).partition("(")[2][:-1]
        return f"TilePlan({counts}; {self.blend}, {self.grid.redundancy:.2f}x the work, imbalance {self.imbalance:.2f})"

    def _repr_html_(self) -> str:
        ledger = [(cost.tiles, cost.work, cost.sent, cost.received) for cost in self.costs]
        facts = (
            f"{len(self.grid)} tiles over {self.ranks} ranks; {self.blend}, finished in {self.finish}; "
            f"{self.grid.redundancy:.2f}x the work, imbalance {self.imbalance:.2f}; output on rank {self.root}"
        )
        return plan_view(self.grid.axes, self.grid.rows, self.assignment.owners, ledger, facts, root=self.root)
