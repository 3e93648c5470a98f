"""Playing scripts: when each rank does what, given what operators cost and how fast links are.

Every rank has a time of its own. The rank whose next step is the earliest goes on, until all have ended:

    an operator     the rank's time goes on by the operator's cost
    a post          the messages start, each as soon as both ends are posted and its link is free
    a wait          the rank's time jumps to the message's arrival, if that lies ahead

Messages between two ranks match in the order in which they are posted in one group, as they do in a run. A link carries
one message at a time in each direction; between two hosts, all their ranks share one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import accumulate

from toolkit.errors import RunError
from toolkit.geometry.topology import Topology
from toolkit.planning.rehearsing.script import Await, Compute, End, Post, Script


@dataclass(frozen=True, slots=True)
class RankTimes:
    """When a rank has done how many of its steps.

    Attributes:
        own: Seconds that the rank itself has spent after each number of steps, waits left out.
        jumps: The steps after which it has waited, in ascending order, beginning with 0.
        waited: Seconds waited in total after each of ``jumps``.
    """

    own: Sequence[float]
    jumps: Sequence[int]
    waited: Sequence[float]

    def at(self, steps: float) -> float:
        """Seconds from the beginning of the call until so many steps are done."""
        done = int(steps)
        return self.own[done] + self.waited[bisect_right(self.jumps, done) - 1]

    @property
    def end(self) -> float:
        """Seconds until all steps are done."""
        return self.own[-1] + self.waited[-1]


@dataclass(frozen=True, slots=True)
class Performance:
    """All ranks' scripts in time.

    Attributes:
        times: Each rank's times, by rank.
        messages: When each message arrived or had left, by rank and number.
        arrivals: The same by rank and end.
    """

    times: Mapping[int, RankTimes]
    messages: Mapping[tuple[int, int], float]
    arrivals: Mapping[int, Mapping[End, float]]


def play(
    scripts: Sequence[Script], cost: Callable[[Compute], float], *, post: float, topology: Topology
) -> Performance:
    """Play all ranks' scripts.

    Args:
        scripts: One for each rank that takes part.
        cost: Seconds that a step takes, the host's part included.
        post: Seconds that posting a message takes the host.
        topology: The links between ranks.

    Raises:
        RunError: If the two ends of a message do not match, or ranks wait for each other for ever.
    """
    players = {script.rank: _Player.of(script, cost, post=post) for script in scripts}
    network = _Network(topology)
    ready = [(0.0, rank) for rank in players]
    heapify(ready)
    waiting: dict[tuple[int, int], int] = {}
    while ready:
        _, rank = heappop(ready)
        player = players[rank]
        step = player.next_step()
        if step is None:
            continue
        if isinstance(step, Post):
            for known in network.post(rank, player.posted, step):
                if known in waiting:
                    other = waiting.pop(known)
                    heappush(ready, (max(players[other].now, network.arrivals[known]), other))
            player.move_on()
        elif (rank, step.message) in network.arrivals:
            player.move_on(until=network.arrivals[rank, step.message])
        else:
            waiting[rank, step.message] = rank
            continue
        heappush(ready, (player.now, rank))
    network.check_over(waiting)
    times = {rank: player.times() for rank, player in players.items()}
    return Performance(times, network.arrivals, network.by_end())


@dataclass(slots=True)
class _Player:
    """A rank that plays its script: it stops at messages only."""

    own: list[float]
    stops: list[tuple[int, Post | Await]]
    at: int = 0
    jumps: list[int] = field(default_factory=lambda: [0])
    waited: list[float] = field(default_factory=lambda: [0.0])

    @classmethod
    def of(cls, script: Script, cost: Callable[[Compute], float], *, post: float) -> _Player:
        spent = [
            cost(step) if isinstance(step, Compute) else post * len(step.crossings) if isinstance(step, Post) else 0.0
            for step in script.steps
        ]
        stops = [(place, step) for place, step in enumerate(script.steps) if not isinstance(step, Compute)]
        return cls(list(accumulate(spent, initial=0.0)), stops)

    @property
    def now(self) -> float:
        """The time at which the next stop is reached."""
        place = self.stops[self.at][0] if self.at < len(self.stops) else -1
        return self.own[place] + self.waited[-1]

    @property
    def posted(self) -> float:
        """The time at which the next stop, a post, has been paid for."""
        return self.own[self.stops[self.at][0] + 1] + self.waited[-1]

    def next_step(self) -> Post | Await | None:
        return self.stops[self.at][1] if self.at < len(self.stops) else None

    def move_on(self, until: float = 0.0) -> None:
        """Go on behind the present stop, after a wait until then."""
        lost = until - self.now
        if lost > 0:
            self.jumps.append(self.stops[self.at][0] + 1)
            self.waited.append(self.waited[-1] + lost)
        self.at += 1

    def times(self) -> RankTimes:
        return RankTimes(self.own, self.jumps, self.waited)


class _Network:
    """The messages under way.

    Attributes:
        arrivals: When messages arrive or have left, by rank and number, as far as both ends are posted.
    """

    def __init__(self, topology: Topology) -> None:
        self.arrivals: dict[tuple[int, int], float] = {}
        self._topology = topology
        self._open: dict[tuple[int, int, str], tuple[deque[tuple[float, int, int]], ...]] = defaultdict(
            lambda: (deque(), deque())
        )
        self._free: dict[tuple[int, int], float] = defaultdict(float)
        self._ends: dict[int, list[End]] = defaultdict(list)
        self._places: dict[tuple[int, int, bool, str], int] = defaultdict(int)

    def post(self, rank: int, now: float, step: Post) -> list[tuple[int, int]]:
        """Post a group; returns the ends of messages whose arrival is known from here on."""
        known = []
        for one in step.crossings:
            number, place = len(self._ends[rank]), (rank, one.peer, one.sends, step.group)
            self._ends[rank].append(End(one.peer, one.sends, self._places[place], step.group))
            self._places[place] += 1
            pair = (rank, one.peer) if one.sends else (one.peer, rank)
            line = self._open[*pair, step.group]
            mine, theirs = line if one.sends else reversed(line)
            if not theirs:
                mine.append((now, number, one.bytes))
                continue
            posted, other, size = theirs.popleft()
            if size != one.bytes:
                raise RunError(f"ranks {pair}: one end of a message has {size} bytes, the other {one.bytes}.")
            arrival = self._transfer(pair, max(now, posted), size)
            for end in ((rank, number), (one.peer, other)):
                self.arrivals[end] = arrival
                known.append(end)
        return known

    def _transfer(self, pair: tuple[int, int], start: float, size: int) -> float:
        link = self._topology.link(*pair)
        hosts = self._topology.host_of(pair[0]), self._topology.host_of(pair[1])
        # Ranks of one host have a link for each pair; between two hosts, all their ranks share one.
        line = pair if hosts[0] == hosts[1] else (-1 - hosts[0], -1 - hosts[1])
        begin = max(start, self._free[line])
        self._free[line] = begin + size / link.bandwidth
        return begin + link.seconds(size)

    def by_end(self) -> dict[int, dict[End, float]]:
        """When messages arrived or had left, by rank and end."""
        return {
            rank: {end: self.arrivals[rank, number] for number, end in enumerate(ends)}
            for rank, ends in self._ends.items()
        }

    def check_over(self, waiting: Mapping[tuple[int, int], int]) -> None:
        """Refuse scripts that have not ended, or messages with one end only."""
        ends = [f"{a} to {b}" for (a, b, _), sides in self._open.items() if any(sides)]
        if waiting or ends:
            raise RunError(
                f"ranks {sorted(set(waiting.values()))} wait for ever; messages with one end only: {ends}: the ranks' "
                "scripts do not fit together. This is a mistake of the toolkit; please report it with the plan."
            )
