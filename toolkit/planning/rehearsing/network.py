"""Messages and collectives under way while scripts are played: what belongs together, and when each arrives or ends."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from math import inf
from typing import NamedTuple

from toolkit.errors import RunError
from toolkit.geometry.topology import Link, Topology
from toolkit.planning.rehearsing.script import Collective, Post

UNKNOWN = inf
"""The arrival of a message with one end only."""


_TURNS = {"all_reduce": 2, "all_gather": 1, "all_to_all": 1}
"""How often a collective goes around its ring: a sum once to add up, and once more to tell all ranks the result."""


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
        # By line: when which of its ranks has come to the collective that is next, and to which.
        self._meetings: dict[tuple[int, ...], dict[int, tuple[float, Collective]]] = {}

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

    def meet(self, rank: int, now: float, step: Collective) -> float | None:
        """Take part in a collective; returns when it ends for the whole line, or None until all its ranks are there."""
        meeting = self._meetings.setdefault(step.line, {})
        meeting[rank] = now, step
        if len(meeting) < len(step.line):
            return None
        del self._meetings[step.line]
        operations = {other.operation for _, other in meeting.values()}
        if len(operations) > 1:
            raise RunError(f"ranks {step.line} meet for different collectives: {sorted(operations)}.")
        # With unequal parts, the rank with the most to move holds up the others.
        most = max(other.bytes for _, other in meeting.values())
        return self._around(step, max(came for came, _ in meeting.values()), most)

    def _around(self, step: Collective, start: float, size: int) -> float:
        """When a collective ends.

        The assumption: the ranks are a ring, and each sends a part of the tensor, one of as many as there are ranks, to
        the next rank again and again. So each sends 2 (n - 1) / n of the bytes that are added up, and (n - 1) / n of
        those that are gathered or exchanged. Libraries may know better ways, for small tensors above all.
        """
        ring = [self._way(pair) for pair in zip(step.line, (*step.line[1:], step.line[0]), strict=True)]
        # Pairs between the same two hosts share a link.
        shared = Counter(way for _, way in ring)
        part = size / len(step.line)
        slowest = max(link.latency + shared[way] * part / link.bandwidth for link, way in ring)
        begin = max(start, *(self._free.get(way, 0.0) for way in shared))
        end = begin + _TURNS[step.operation] * (len(step.line) - 1) * slowest
        self._free |= dict.fromkeys(shared, end)
        return end

    def _transfer(self, pair: tuple[int, int], start: float, size: int) -> float:
        link, way = self._way(pair)
        begin = max(start, self._free.get(way, 0.0))
        self._free[way] = begin + size / link.bandwidth
        return begin + link.latency + size / link.bandwidth

    def _way(self, pair: tuple[int, int]) -> tuple[Link, tuple[int, int]]:
        """The link from one rank to another, and what tells it from others."""
        source, to = self._hosts[pair[0]], self._hosts[pair[1]]
        # Ranks of one host have a link for each pair; between two hosts, all their ranks share one.
        return (self._within, pair) if source == to else (self._between, (-1 - source, -1 - to))

    def check_over(self, waiting: Mapping[tuple[int, int], int]) -> None:
        """Refuse scripts that have not ended, or messages with one end only."""
        if waiting or self._open or self._meetings:
            ends = list(dict.fromkeys(f"{a} to {b}" for a, b, *_ in self._open))
            stuck = {*waiting.values(), *(rank for meeting in self._meetings.values() for rank in meeting)}
            met = f"; lines that do not meet: {sorted(self._meetings)}" if self._meetings else ""
            raise RunError(
                f"ranks {sorted(stuck)} wait for ever; messages with one end only: {ends}{met}: the ranks' scripts do "
                "not fit together. This is a mistake of the toolkit; please report it with the plan."
            )
