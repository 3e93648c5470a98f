"""Playing scripts: when each rank does what, given what operators cost and how fast links are.

What happens first is played first, until all ranks have ended:

    an operator     the rank computes for as long as the operator costs; longer, if more ranks compute than there are
                    processors
    a post          the messages start, each as soon as both ends are posted and its link is free
    a wait          the rank stands still until the message's arrival, if that lies ahead
    a collective    the rank stands still until all of its line are there, and then for as long as the links say

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
from toolkit.planning.rehearsing.work_clock import Progress, WorkClock


@dataclass(frozen=True, slots=True)
class RankTimes:
    """When a rank has done how many of its steps.

    Attributes:
        own: Seconds of work that the rank itself has done after each number of steps.
        jumps: The steps after which it has waited, in ascending order, beginning with 0.
        waited: The work that it has let pass in total after each of ``jumps``.
        progress: When how much work was done by ranks that did not wait.
    """

    own: Sequence[float]
    jumps: Sequence[int]
    waited: Sequence[float]
    progress: Progress = field(default_factory=Progress)

    def at(self, steps: float) -> float:
        """Seconds from the beginning of the call until so many steps are done."""
        done = int(steps)
        return self.progress.time_of(self.own[done] + self.waited[bisect_right(self.jumps, done) - 1])

    @property
    def end(self) -> float:
        """Seconds until all steps are done."""
        return self.progress.time_of(self.own[-1] + self.waited[-1])


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
    scripts: Sequence[Script],
    cost: Callable[[Compute], float],
    *,
    post: float,
    topology: Topology,
    slowness: Callable[[int], float] = lambda computing: 1.0,
) -> Performance:
    """Play all ranks' scripts.

    Args:
        scripts: One for each rank that takes part.
        cost: Seconds that a step takes on a rank with a processor of its own, the host's part included.
        post: Seconds that posting a message, or a collective, takes the host.
        topology: The links between ranks.
        slowness: How many times as long it all takes if so many ranks compute at the same time.

    Raises:
        RunError: If the two ends of a message, or the ranks of a collective, do not match, or ranks wait for each
            other for ever.
    """
    players = _players(scripts, cost, post=post)
    clock = WorkClock(slowness, len(players))
    playing = _Playing(players, Network(topology), clock)
    while playing.go_on():
        pass
    playing.network.check_over(playing.waiting)
    times = {rank: player.times(clock.progress) for rank, player in players.items()}
    return Performance(times, playing.network.arrivals)


class _Playing:
    """All ranks on their way.

    Attributes:
        network: The messages under way.
        waiting: The ranks that wait for a message whose other end is not posted yet, by the rank and number of it.
    """

    def __init__(self, players: Mapping[int, _Player], network: Network, clock: WorkClock) -> None:
        self.network, self.waiting = network, dict[tuple[int, int], int]()
        self._players, self._clock = players, clock
        # The ranks that compute, by the work at which each comes to its next stop; and those that stand still, by the
        # time at which each goes on.
        self._computing = [(player.work, rank) for rank, player in players.items()]
        self._standing: list[tuple[float, int]] = []
        heapify(self._computing)

    def go_on(self) -> bool:
        """Let happen what happens next; returns whether anything did."""
        clock, computing, standing = self._clock, self._computing, self._standing
        if standing and (not computing or standing[0][0] <= clock.progress.time_of(computing[0][0])):
            time, rank = heappop(standing)
            clock.to_time(time)
            clock.goes(+1)
            self._players[rank].wake(clock.work)
            heappush(computing, (self._players[rank].work, rank))
            return True
        if not computing:
            return False
        work, rank = heappop(computing)
        clock.to_work(work)
        self._stop(rank, self._players[rank])
        return True

    def _stop(self, rank: int, player: _Player) -> None:
        """A rank has come to its next stop."""
        step, now = player.step, self._clock.time
        if isinstance(step, Post):
            for known in self.network.post(rank, now, player.script.named(step)):
                if (other := self.waiting.pop(known, None)) is not None:
                    heappush(self._standing, (self.network.arrival(*known), other))
        elif isinstance(step, Await):
            arrival = self.network.arrival(rank, step.message)
            if arrival > now:
                self._clock.goes(-1)
                if arrival == UNKNOWN:
                    self.waiting[rank, step.message] = rank
                else:
                    heappush(self._standing, (arrival, rank))
                return
        else:
            # The end, or a collective, at which the last rank of the line to come takes the others along.
            self._clock.goes(-1)
            if step is not None and (end := self.network.meet(rank, now, step)) is not None:
                for other in step.line:
                    heappush(self._standing, (end, other))
            return
        player.at += 1
        heappush(self._computing, (player.work, rank))


_Stop = Post | Await | Collective


@dataclass(slots=True)
class _Player:
    """A rank that plays its script: it stops at messages, collectives and the end only."""

    script: Script
    own: list[float]
    stops: list[tuple[int, _Stop]]
    at: int = 0
    jumps: list[int] = field(default_factory=lambda: [0])
    waited: list[float] = field(default_factory=lambda: [0.0])

    @property
    def work(self) -> float:
        """The work at which the next stop is reached, and the host has done its part of it."""
        place = self.stops[self.at][0] + 1 if self.at < len(self.stops) else -1
        return self.own[place] + self.waited[-1]

    @property
    def step(self) -> _Stop | None:
        """The next stop; None: the end."""
        return self.stops[self.at][1] if self.at < len(self.stops) else None

    def wake(self, work: float) -> None:
        """Go on behind the present stop, after a wait until then."""
        place = self.stops[self.at][0] + 1
        if work > self.own[place] + self.waited[-1]:
            self.jumps.append(place)
            self.waited.append(work - self.own[place])
        self.at += 1

    def times(self, progress: Progress) -> RankTimes:
        """When it has done how many of its steps."""
        return RankTimes(self.own, self.jumps, self.waited, progress)


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
