"""How much each of several contiguous parts of some layers can take: the search for the lowest limit that works."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

Interval = tuple[int, int]
"""The first and the last of a run of places between layers."""


class Loads:
    """The times and the memory of all possible parts, in integers.

    Part ``k`` with the layers ``start <= i < stop`` takes ``(work[stop] - work[start]) * factors[k]``.

    Args:
        costs: Cost of each layer.
        factors: What the cost of each part is multiplied by.
        memory: Memory of each layer; none by default.
        caps: Memory limit of each part.

    Attributes:
        layers: Number of layers.
        parts: Number of parts.
        work: Cost of all layers before each place.
        factors: As given.

    Example:
        >>> loads = Loads([1, 1, 1, 5], [1, 1])
        >>> loads.least_limit(), loads.starts(5)
        (5, [[0], [3], [4]])
    """

    def __init__(
        self,
        costs: Sequence[int],
        factors: Sequence[int],
        memory: Sequence[int] | None = None,
        caps: Sequence[int] | None = None,
    ) -> None:
        self.layers, self.parts, self.factors = len(costs), len(factors), factors
        self.work = list(accumulate(costs, initial=0))
        self._costs, self._memory = costs, memory or [0] * self.layers
        self._held = list(accumulate(self._memory, initial=0))
        self._caps = caps or [0] * self.parts
        self._heaviest, self._largest = max(costs), max(self._memory)

    def furthest(self, k: int, start: int, limit: int) -> int:
        """The last place at which part ``k`` can end; ``start`` itself if its first layer is already too much."""
        by_time = bisect_right(self.work, self.work[start] + limit // self.factors[k]) - 1
        return min(by_time, bisect_right(self._held, self._held[start] + self._caps[k]) - 1)

    def least_limit(self) -> int | None:
        """The least time within which all parts can be done; None if no partition stays within the caps."""
        # low: less than is possible. high: enough, if anything is.
        low, high = -1, self.work[-1] * max(self.factors)
        if not self._possible(high):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._possible(middle) else (middle, high)
        return high

    def starts(self, limit: int) -> list[list[int]]:
        """Where each part can begin in a partition within ``limit``, and at last the number of layers, in order."""
        forward = [[(0, 0)]]
        for k in range(self.parts):
            forward.append(self._stops(k, forward[-1], limit))
        found = [[self.layers]]
        for k in reversed(range(self.parts)):
            after = found[0]
            places = (place for first, last in forward[k] for place in range(first, min(last, self.layers - 1) + 1))
            found.insert(0, [place for place in places if self._reaches(k, place, after, limit)])
        return found

    def _reaches(self, k: int, start: int, places: Sequence[int], limit: int) -> bool:
        """Whether part ``k`` from ``start`` on can end at one of the places, which are in order."""
        index = bisect_right(places, start)
        return index < len(places) and places[index] <= self.furthest(k, start, limit)

    def _possible(self, limit: int) -> bool:
        places: list[Interval] = [(0, 0)]
        for k in range(self.parts):
            places = self._stops(k, places, limit)
        return any(last == self.layers for _, last in places)

    def _stops(self, k: int, starts: Sequence[Interval], limit: int) -> list[Interval]:
        """Where part ``k`` can end if it begins at one of ``starts``.

        From two starts next to each other, it reaches all places up to the later one's furthest. Only a layer that is
        too much for the part on its own leaves a gap, because no part begins before it.
        """
        light = self._heaviest * self.factors[k] <= limit and self._largest <= self._caps[k]
        stops: list[Interval] = []
        for first, end in starts:
            last = min(end, self.layers - 1)
            runs = [(first, last)] if light else self._runs(k, first, last, limit)
            for start, final in runs:
                if start > final:
                    continue
                reached = start + 1, self.furthest(k, final, limit)
                if stops and reached[0] <= stops[-1][1] + 1:
                    reached = stops.pop()[0], max(reached[1], reached[0])
                stops.append(reached)
        return stops

    def _runs(self, k: int, first: int, last: int, limit: int) -> list[Interval]:
        """The starts from ``first`` to ``last`` whose first layer part ``k`` can take, in runs."""
        runs: list[Interval] = []
        for start in range(first, last + 1):
            if self._costs[start] * self.factors[k] > limit or self._memory[start] > self._caps[k]:
                continue
            if runs and runs[-1][1] == start - 1:
                runs[-1] = runs[-1][0], start
            else:
                runs.append((start, start))
        return runs
