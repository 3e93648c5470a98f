"""Playing scripts: when each rank does what, given what operators cost and how fast links are.

Every rank has a time of its own. The rank whose next step is the earliest goes on, until all have ended:

    an operator     the rank's time goes on by the operator's cost
    a post          the messages start, each as soon as both ends are posted and its link is free
    a wait          the rank's time jumps to the message's arrival, if that lies ahead
    a collective    the rank stands still until all of its line are there; then it takes as long as the links say

Messages between two ranks match in the order in which they are posted in one group, as they do in a run. A link carries
one message at a time in each direction; between two hosts, all their ranks share one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import accumulate

from toolkit.geometry.topology import Topology
from toolkit.planning.rehearsing.network import UNKNOWN, Network
from toolkit.planning.rehearsing.script import Await, Collective, Compute, End, Post, Script


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
        messages: When each message arrived or had left, by rank: a list by number.
    """

    times: Mapping[int, RankTimes]
    messages: Mapping[int, Sequence[float]]

    def arrivals(self, script: Script) -> dict[End, float]:
        """When the messages of a rank arrived or had left, by end."""
        return dict(zip(script.ends(), self.messages[script.rank], strict=True))


def play(
    scripts: Sequence[Script], cost: Callable[[Compute], float], *, post: float, topology: Topology
) -> Performance:
    """Play all ranks' scripts.

    Args:
        scripts: One for each rank that takes part.
        cost: Seconds that a step takes, the host's part included.
        post: Seconds that posting a message, or a collective, takes the host.
        topology: The links between ranks.

    Raises:
        RunError: If the two ends of a message, or the ranks of a collective, do not match, or ranks wait for each
            other for ever.
    """
    network, players = Network(topology), _players(scripts, cost, post=post)
    ready = [(0.0, rank) for rank in players]
    heapify(ready)
    waiting: dict[tuple[int, int], int] = {}
    while ready:
        _, rank = heappop(ready)
        player = players[rank]
        # The rank goes on as long as no other has an earlier step.
        while (step := player.next_step()) is not None and (not ready or (player.now, rank) <= ready[0]):
            if isinstance(step, Post):
                for known in network.post(rank, player.paid, player.script.named(step)):
                    if known in waiting:
                        other = waiting.pop(known)
                        heappush(ready, (max(players[other].now, network.arrival(*known)), other))
                player.move_on()
            elif isinstance(step, Collective):
                if (end := network.meet(rank, player.paid, step)) is None:
                    # The last rank of the line to come takes this one along.
                    break
                player.move_on(until=end)
                _take_along(end, ready, {other: players[other] for other in step.line if other != rank})
            elif (arrival := network.arrival(rank, step.message)) < UNKNOWN:
                player.move_on(until=arrival)
            else:
                waiting[rank, step.message] = rank
                break
        else:
            if step is not None:
                heappush(ready, (player.now, rank))
    network.check_over(waiting)
    return Performance({rank: player.times() for rank, player in players.items()}, network.arrivals)


def _take_along(end: float, ready: list[tuple[float, int]], others: Mapping[int, _Player]) -> None:
    """Let the ranks of a line go on behind a collective at which they stand."""
    for rank, player in others.items():
        player.move_on(until=end)
        heappush(ready, (player.now, rank))


_Stop = Post | Await | Collective


@dataclass(slots=True)
class _Player:
    """A rank that plays its script: it stops at messages and collectives only."""

    script: Script
    own: list[float]
    stops: list[tuple[int, _Stop]]
    at: int = 0
    jumps: list[int] = field(default_factory=lambda: [0])
    waited: list[float] = field(default_factory=lambda: [0.0])

    @property
    def now(self) -> float:
        """The time at which the next stop is reached."""
        place = self.stops[self.at][0] if self.at < len(self.stops) else -1
        return self.own[place] + self.waited[-1]

    @property
    def paid(self) -> float:
        """The time at which the host has done its part of the next stop."""
        return self.own[self.stops[self.at][0] + 1] + self.waited[-1]

    def next_step(self) -> _Stop | None:
        return self.stops[self.at][1] if self.at < len(self.stops) else None

    def move_on(self, until: float = 0.0) -> None:
        """Go on behind the present stop, after a wait until then."""
        lost = until - self.paid
        if lost > 0:
            self.jumps.append(self.stops[self.at][0] + 1)
            self.waited.append(self.waited[-1] + lost)
        self.at += 1

    def times(self) -> RankTimes:
        return RankTimes(self.own, self.jumps, self.waited)


def _players(scripts: Sequence[Script], cost: Callable[[Compute], float], *, post: float) -> dict[int, _Player]:
    found: dict[int, _Player] = {}
    # Ranks that are alike share their steps, and so what these cost.
    known: dict[int, tuple[list[float], list[tuple[int, _Stop]]]] = {}
    for script in scripts:
        if id(script.steps) not in known:
            spent = [cost(step) if isinstance(step, Compute) else post * _posted(step) for step in script.steps]
            stops = [(place, step) for place, step in enumerate(script.steps) if not isinstance(step, Compute)]
            known[id(script.steps)] = list(accumulate(spent, initial=0.0)), stops
        found[script.rank] = _Player(script, *known[id(script.steps)])
    return found


def _posted(step: _Stop) -> int:
    """How many messages or collectives the host starts."""
    return len(step.crossings) if isinstance(step, Post) else int(isinstance(step, Collective))
