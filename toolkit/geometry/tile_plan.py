"""Tile plans: a grid, a blend and an assignment, and what they will cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import ClassVar

from toolkit.errors import PlanError
from toolkit.geometry.assignment import Assignment
from toolkit.geometry.blend import Blend
from toolkit.geometry.checks import as_int, check_ints, check_kind, check_rank
from toolkit.geometry.drawing.html_views import plan_view
from toolkit.geometry.edges import Edge, all_edges
from toolkit.geometry.grid import TileGrid
from toolkit.geometry.known_arguments import known_arguments
from toolkit.geometry.plan import Plan, PlanKind

RECEIVES_IN_FLIGHT = 4
"""Number of receives that the root keeps posted while it collects the shares."""


@dataclass(frozen=True, slots=True)
class RankCost:
    """What a plan asks of one rank, in latent cells.

    Attributes:
        rank: The rank.
        tiles: Number of its tiles.
        work: Cells that it computes.
        sent: Cells that it sends: edges to the ranks of later tiles, and its part of the result to the root.
        received: Cells that it receives.
        kept: Finished cells that it holds until they are sent (the root: until the end).
        edges: Most edge cells that it may have to hold at one time.
        largest: Cells of its largest tile.
    """

    rank: int
    tiles: int
    work: int
    sent: int
    received: int
    kept: int
    edges: int
    largest: int


@known_arguments
@dataclass(frozen=True, repr=False)
class TilePlan(Plan):
    """How one latent is computed in tiles over ranks.

    Attributes:
        grid: The boxes that are computed on their own.
        blend: How they become one sample.
        assignment: Which rank computes which tile.
        root: The rank that ends up with the whole output.

    Raises:
        PlanError: If the assignment is not for this grid, or ``root`` is not one of its ranks.

    Example:
        >>> grid = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)
        >>> plan = TilePlan(grid, Blend.linear(), Assignment.balanced(grid, ranks=2))
        >>> plan
        TilePlan(12 tiles over 2 ranks: 6 6; Blend.linear(), 1.60x the work, imbalance 1.00)
        >>> plan.work, plan.finish
        ((4992, 4992), 'shares')
    """

    kind: ClassVar[PlanKind] = PlanKind.TILES
    part_noun: ClassVar[str] = "tiles"
    promise: ClassVar[str] = "tiles, each computed from its own cells only: an approximation of an untiled call"

    grid: TileGrid
    blend: Blend
    assignment: Assignment
    root: int = 0

    def __post_init__(self) -> None:
        check_kind("grid", self.grid, kind=TileGrid, remedy="a TileGrid, such as TileGrid.cover(...) returns")
        check_kind(
            "assignment", self.assignment, kind=Assignment, remedy="an Assignment, such as Assignment.balanced(...)"
        )
        check_kind("blend", self.blend, kind=Blend, remedy="a Blend, such as Blend.linear()")
        if len(self.assignment.owners) != len(self.grid):
            raise PlanError(
                f"the assignment deals out {len(self.assignment.owners)} tiles, the grid has {len(self.grid)}: "
                "make the assignment from this grid."
            )
        check_rank("root", self.root, ranks=self.ranks)

    def __reduce__(self) -> tuple[type[TilePlan], tuple[object, ...]]:
        return type(self), (self.grid, self.blend, self.assignment, self.root)

    @property
    def ranks(self) -> int:
        """Number of ranks, idle ones included."""
        return self.assignment.ranks

    @property
    def output_rank(self) -> int:
        """The root."""
        return self.root

    @property
    def working(self) -> tuple[int, ...]:
        """The ranks that take part: those with a tile, and the one that the output goes to."""
        idle = set(self.assignment.idle) - {self.root}
        return tuple(rank for rank in range(self.ranks) if rank not in idle)

    @property
    def units(self) -> tuple[int, ...]:
        """Number of tiles of each rank."""
        return self.assignment.counts

    @property
    def summary(self) -> str:
        """The plan in a few words."""
        return f"{len(self.grid)} tiles over {self.ranks} ranks"

    @property
    def description(self) -> str:
        """The plan in a few words, with its blend.

        Example:
            >>> grid = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)
            >>> TilePlan(grid, Blend.linear(), Assignment.balanced(grid, ranks=2)).description
            '12 tiles over 2 ranks, Blend.linear()'
        """
        return f"{self.summary}, {self.blend}"

    @property
    def figures(self) -> Mapping[str, int | float]:
        """Number of tiles, redundancy and imbalance."""
        return {"tiles": len(self.grid), "redundancy": self.grid.redundancy, "imbalance": self.imbalance}

    @property
    def part_owners(self) -> tuple[int, ...]:
        """The rank of each tile."""
        return self.assignment.owners

    @property
    def planned_messages(self) -> tuple[tuple[int, int, int], ...]:
        """The sender, receiver and latent cells of each message: edges between ranks, then results to the root.

        Example:
            >>> grid = TileGrid.cover({"w": 40}, tile=24, overlap=8)
            >>> TilePlan(grid, Blend.linear(), Assignment.balanced(grid, ranks=2)).planned_messages
            ((0, 1, 8), (1, 0, 24))
        """
        owners, shared = self.assignment.owners, self.finish == "shares"
        edges = ((owners[edge.source], owners[edge.target], edge.cells) for edge in self.edges)
        results = (
            (rank, self.root, tile.share_cells if shared else tile.cells)
            for tile, rank in zip(self.grid.tiles, owners, strict=True)
            if rank != self.root
        )
        return (*edges, *results)

    @property
    def seam_grid(self) -> TileGrid:
        """The plan's own grid."""
        return self.grid

    def part_grid(self, extent: Mapping[str, int]) -> TileGrid:
        """The plan's own grid; it fits one extent only."""
        return self.grid

    @property
    def finish(self) -> str:
        """Where overlaps are blended.

        ``"shares"``: every rank finishes its own tiles' shares after one exchange of raw edges. ``"tiles"``: somewhere
        three tiles meet, so raw tiles travel whole and the root blends them in order.
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
        """Total cells sent between ranks."""
        return sum(cost.sent for cost in self.costs)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """The edges that travel from one rank to another, in the order that all ranks follow."""
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

        Edges between a rank's own tiles wait for one row of the grid at most. Edges between ranks wait as long as one
        rank is ahead of another, so all of them count.
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
        """Total bytes sent between ranks.

        Args:
            cell_bytes: Bytes of sample per latent cell; for an 8x fp32 RGB decoder, ``8 * 8 * 3 * 4``.
        """
        check_ints(0, cell_bytes=cell_bytes)
        return self.moved * cell_bytes

    def peaks(self, cell_bytes: int, working_bytes: int = 0) -> tuple[int, ...]:
        """The most bytes that each rank may hold at one time, without weights and latent.

        The root holds the output, the waiting edges, and either one tile's working memory or the receives in flight.
        Other ranks hold their finished shares, the waiting edges, and one tile's working memory.

        Args:
            cell_bytes: Bytes of sample per latent cell.
            working_bytes: Bytes that the model holds per latent cell while it computes a tile.

        Example:
            >>> grid = TileGrid.cover({"w": 64}, tile=32)
            >>> plan = TilePlan(grid, Blend.linear(), Assignment.round_robin(grid, 2))
            >>> plan.peaks(cell_bytes=100, working_bytes=1000)
            (38400, 35200)
        """
        # Sizes that come out of a table are NumPy's.
        cell_bytes, working_bytes = (as_int(value) for value in (cell_bytes, working_bytes))
        check_ints(0, cell_bytes=cell_bytes, working_bytes=working_bytes)
        whole = prod(self.grid.extent.values())
        largest = max(cost.largest for cost in self.costs)
        peaks = []
        for cost in self.costs:
            # Blending works on copies of one share and one edge.
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
        return plan_view(
            self.grid.axes, self.grid.rows, owners=self.assignment.owners, ledger=ledger, facts=facts, root=self.root
        )
