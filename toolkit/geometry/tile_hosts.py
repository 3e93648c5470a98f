"""Which tiles go to which host: neighbours together, and no rank with more to do than the busiest one has anyway.

The search counts the cells that travel between hosts: edges of tiles, and finished parts on their way to the first
host, where the output is collected. It begins with several layouts that keep neighbours together, takes the best of
them, and then moves and exchanges single tiles between hosts as long as that saves cells:

    bands of rows    0 0 0 0      columns    0 0 1 1      two bands,    0 0 1 1
                     0 0 0 0                 0 0 1 1      columns in    0 0 1 1
                     1 1 1 1                 0 0 1 1      each          2 2 3 3
                     1 1 1 1                 0 0 1 1                    2 2 3 3
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from itertools import permutations
from math import isqrt, prod

from toolkit.geometry.edges import all_edges
from toolkit.geometry.grid import TileGrid

MOST_TRIED = 20_000
"""The most moves and exchanges that are looked at from each layout: a fraction of a second."""

STARTS = 3
"""Number of layouts that the search begins with."""


def neighbours_together(
    grid: TileGrid, costs: Sequence[float], owners: Sequence[int], hosts: Sequence[int]
) -> tuple[int, ...]:
    """Deal out the tiles anew, so that the fewest cells travel between hosts that the search finds.

    Args:
        grid: The tiles.
        costs: The cost of each tile.
        owners: The rank of each tile, without regard to hosts. Its busiest rank sets the most that a rank may have, and
            ranks that have a tile keep one.
        hosts: The host of each rank; they ascend.

    Returns:
        The rank of each tile.

    Example:
        >>> grid = TileGrid.cover({"h": 32, "w": 32}, tile=12, overlap=2)
        >>> neighbours_together(grid, [1.0] * 9, owners=(0, 1, 2, 3, 0, 1, 2, 3, 0), hosts=(0, 0, 1, 1))
        (3, 1, 0, 2, 1, 0, 2, 1, 0)
    """
    if len(set(hosts)) == 1:
        return tuple(owners)
    work = _Work(costs, owners)
    traffic = _Traffic(grid, hosts)
    starts = {tuple(owners): None}
    for order in _orders(grid, len(set(hosts))):
        starts |= dict.fromkeys(work.dealt(order))
    # Sorting keeps the order of equals, so the assignment without hosts stays unless another is better.
    best = sorted(starts, key=traffic.score)[:STARTS]
    return min((_improved(start, work, traffic) for start in best), key=traffic.score)


def _orders(grid: TileGrid, hosts: int) -> Iterator[list[int]]:
    """Orders of tiles in which runs are compact: along one axis, or in bands along one and then along another."""
    if len(grid.shape) == 1:
        yield from _both_ways(range(len(grid)))
    for along, across in permutations(range(len(grid.shape)), 2):
        count = grid.shape[along]
        for bands in sorted({*range(1, min(count, isqrt(hosts) + 1) + 1), count}):
            keys = [
                (tile.position[along] * bands // count, tile.position[across], tile.position[along], tile.index)
                for tile in grid.tiles
            ]
            yield from _both_ways(sorted(range(len(grid)), key=keys.__getitem__))


def _both_ways(order: Sequence[int]) -> tuple[list[int], list[int]]:
    """The finished parts of the last tiles are larger, so it matters at which end the first host is."""
    return list(order), list(reversed(order))


class _Work:
    """What each rank may have to do.

    Args:
        costs: The cost of each tile.
        owners: The rank of each tile in the assignment that sets the limits.
    """

    def __init__(self, costs: Sequence[float], owners: Sequence[int]) -> None:
        self.costs = costs
        self._tiles = _by_owner(owners)
        self.most = max(map(self.of, self._tiles.values()))

    def of(self, tiles: Sequence[int]) -> float:
        """The work of tiles; the same sum in whatever order they are given."""
        return sum(sorted(self.costs[tile] for tile in tiles))

    def allows(self, tiles: Sequence[int]) -> bool:
        """Whether a rank may have just these tiles."""
        return bool(tiles) and self.of(tiles) <= self.most

    def dealt(self, order: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Deal the tiles out in order, in two ways: with each rank's costs as they were, and filling rank by rank."""
        owners = [0] * len(order)
        waiting: dict[float, deque[int]] = defaultdict(deque)
        for tile in order:
            waiting[self.costs[tile]].append(tile)
        for rank in sorted(self._tiles):
            for tile in self._tiles[rank]:
                owners[waiting[self.costs[tile]].popleft()] = rank
        yield tuple(owners)
        left, last = deque(order), max(self._tiles)
        for rank in sorted(self._tiles):
            own: list[int] = []
            # Every later rank gets a tile, too.
            while len(left) > last - rank and self.allows([*own, left[0]]):
                own.append(left.popleft())
            for tile in own:
                owners[tile] = rank
        if not left:
            yield tuple(owners)


class _Traffic:
    """What travels between hosts.

    Args:
        grid: The tiles.
        hosts: The host of each rank.

    Attributes:
        of: For each tile, the tiles beside it, and the cells that travel if those are on another host.
    """

    def __init__(self, grid: TileGrid, hosts: Sequence[int]) -> None:
        self.hosts = hosts
        self._results = [tile.share_cells for tile in grid.tiles]
        if grid.pairwise:
            self._all = [(edge.source, edge.target, edge.cells) for edge in all_edges(grid)]
        else:
            # Tiles travel whole, wherever they are; the seams keep neighbours together nevertheless.
            self._all = [(*seam.tiles, prod(map(len, seam.box))) for seam in grid.seams]
        self.of: list[list[tuple[int, int]]] = [[] for _ in grid.tiles]
        for a, b, cells in self._all:
            self.of[a].append((b, cells))
            self.of[b].append((a, cells))

    def score(self, owners: Sequence[int]) -> int:
        """The cells that travel between hosts."""
        host = [self.hosts[rank] for rank in owners]
        crossing = sum(cells for a, b, cells in self._all if host[a] != host[b])
        return crossing + sum(cells for cells, one in zip(self._results, host, strict=True) if one)

    def change(self, host: Sequence[int], moved: dict[int, int]) -> int:
        """How many more cells travel if some tiles move to other hosts."""
        more = 0
        for tile, to in moved.items():
            for other, cells in self.of[tile]:
                if other in moved and other < tile:
                    # An edge between two tiles that move counts once.
                    continue
                more += cells * ((to != moved.get(other, host[other])) - (host[tile] != host[other]))
            more += self._results[tile] * (bool(to) - bool(host[tile]))
        return more


def _improved(start: Sequence[int], work: _Work, traffic: _Traffic) -> tuple[int, ...]:
    """Move or exchange tiles between hosts, one step after the other, as long as one saves cells."""
    owners, tiles = list(start), _by_owner(start)
    host = [traffic.hosts[rank] for rank in owners]
    tried = 0
    found = True
    while found and tried < MOST_TRIED:
        found = False
        for moved in _steps(owners, host, traffic):
            tried += 1
            if tried >= MOST_TRIED:
                break
            if traffic.change(host, {tile: traffic.hosts[rank] for tile, rank in moved.items()}) >= 0:
                continue
            ranks = {*moved.values(), *(owners[tile] for tile in moved)}
            after = {
                rank: [tile for tile in tiles[rank] if tile not in moved]
                + [tile for tile, to in moved.items() if to == rank]
                for rank in ranks
            }
            if all(map(work.allows, after.values())):
                tiles |= after
                for tile, rank in moved.items():
                    owners[tile], host[tile] = rank, traffic.hosts[rank]
                found = True
                break
    return tuple(owners)


def _steps(owners: Sequence[int], host: Sequence[int], traffic: _Traffic) -> Iterator[dict[int, int]]:
    """The tiles that may move, each with its new rank: one beside another host, or two on both sides of a seam."""
    beside: dict[tuple[int, int], list[int]] = defaultdict(list)
    for tile, near in enumerate(traffic.of):
        for other in sorted({host[other] for other, _ in near} - {host[tile]}):
            beside[host[tile], other].append(tile)
    ranks = sorted(set(owners))
    for (_, there), own in beside.items():
        for tile in own:
            yield from ({tile: rank} for rank in ranks if traffic.hosts[rank] == there)
    for (here, there), own in beside.items():
        if here < there:
            yield from ({a: owners[b], b: owners[a]} for a in own for b in beside[there, here])


def _by_owner(owners: Sequence[int]) -> dict[int, list[int]]:
    """The tiles of each rank that has one."""
    tiles: dict[int, list[int]] = defaultdict(list)
    for tile, rank in enumerate(owners):
        tiles[rank].append(tile)
    return tiles
