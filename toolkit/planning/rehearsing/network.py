"""The messages under way while scripts are played: which ends belong together, and when each arrives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import inf
from typing import NamedTuple

from toolkit.errors import RunError
from toolkit.geometry.topology import Topology
from toolkit.planning.rehearsing.script import Post

UNKNOWN = inf
"""The arrival of a message with one end only."""


class _Half(NamedTuple):
    """One end of a message whose other end is not posted yet."""

    posted: float
    number: int
    bytes: int


class Network:
    """The messages under way.

    Args:
        topology: The links between ranks.

    Attributes:
        arrivals: For each rank, when its messages arrive or have left, by number; ``UNKNOWN`` until both ends are
            posted.
    """

    def __init__(self, topology: Topology) -> None:
        self.arrivals: dict[int, list[float]] = defaultdict(list)
        self._within, self._between = topology.within, topology.between or topology.within
        self._hosts = [topology.host_of(rank) for rank in range(topology.ranks)]
        # By sender, receiver, group, and whether it is the sends that wait for their other ends.
        self._open: dict[tuple[int, int, str, bool], list[_Half]] = {}
        self._free: dict[tuple[int, int], float] = {}

    def post(self, rank: int, now: float, step: Post) -> list[tuple[int, int]]:
        """Post messages; returns the ends, by rank and number, of those whose arrival is known from here on."""
        known = []
        mine = self.arrivals[rank]
        for sends, peer, size in step.crossings:
            number = len(mine)
            mine.append(UNKNOWN)
            pair = (rank, peer) if sends else (peer, rank)
            waiting = self._open.get((*pair, step.group, not sends))
            if waiting is None:
                self._open.setdefault((*pair, step.group, sends), []).append(_Half(now, number, size))
                continue
            other = waiting.pop(0)
            if not waiting:
                del self._open[*pair, step.group, not sends]
            if other.bytes != size:
                raise RunError(f"ranks {pair}: one end of a message has {other.bytes} bytes, the other {size}.")
            arrival = self._transfer(pair, max(now, other.posted), size)
            mine[number] = self.arrivals[peer][other.number] = arrival
            known += [(rank, number), (peer, other.number)]
        return known

    def arrival(self, rank: int, number: int) -> float:
        """When a rank's message arrives or has left; ``UNKNOWN`` until both ends are posted."""
        numbered = self.arrivals[rank]
        return numbered[number] if number < len(numbered) else UNKNOWN

    def _transfer(self, pair: tuple[int, int], start: float, size: int) -> float:
        source, to = self._hosts[pair[0]], self._hosts[pair[1]]
        # Ranks of one host have a link for each pair; between two hosts, all their ranks share one.
        link, line = (self._within, pair) if source == to else (self._between, (-1 - source, -1 - to))
        begin = max(start, self._free.get(line, 0.0))
        self._free[line] = begin + size / link.bandwidth
        return begin + link.latency + size / link.bandwidth

    def check_over(self, waiting: Mapping[tuple[int, int], int]) -> None:
        """Refuse scripts that have not ended, or messages with one end only."""
        if waiting or self._open:
            ends = list(dict.fromkeys(f"{a} to {b}" for a, b, *_ in self._open))
            raise RunError(
                f"ranks {sorted(set(waiting.values()))} wait for ever; messages with one end only: {ends}: the ranks' "
                "scripts do not fit together. This is a mistake of the toolkit; please report it with the plan."
            )
