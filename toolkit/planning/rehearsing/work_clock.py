"""Work and time where ranks share processors: all that compute at some moment are equally slow then.

Work is counted in the seconds that it takes on ranks with a processor each. Of four ranks on two processors, two wait
for messages from 1 s to 2 s:

    time            0 s          1 s          2 s          3 s
    computing       4 ranks      2 ranks      4 ranks
    slowness        2            1            2
    work done       0            0.5          1.5          2

So one clock counts the work of all ranks: whoever computes all the time has done as much. A rank that waits lets it
pass. The clock knows when each amount was reached.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache


@dataclass(frozen=True, slots=True)
class Progress:
    """When how much work was done, as a line of straight pieces.

    Attributes:
        work: The work done at the beginning of each piece.
        time: The time then, in seconds.
        slowness: Seconds in which a second of work is done, in each piece.

    Example:
        >>> progress = Progress([0.0, 0.5], [0.0, 1.0], [2.0, 1.0])
        >>> progress.time_of(0.25), progress.time_of(1.5)
        (0.5, 2.0)
    """

    work: list[float] = field(default_factory=lambda: [0.0])
    time: list[float] = field(default_factory=lambda: [0.0])
    slowness: list[float] = field(default_factory=lambda: [1.0])

    def time_of(self, work: float) -> float:
        """When so much work was done."""
        piece = bisect_right(self.work, work) - 1 if len(self.work) > 1 else 0
        return self.time[piece] + (work - self.work[piece]) * self.slowness[piece]


class WorkClock:
    """The work that ranks get done while they all go on.

    Args:
        slowness: How much slower ranks are if so many compute; asked for at least 1.
        computing: Number of ranks that compute in the beginning.
    """

    def __init__(self, slowness: Callable[[int], float], computing: int) -> None:
        self._slowness, self._computing = cache(slowness), computing
        self.progress = Progress(slowness=[slowness(max(1, computing))])
        self.time = 0.0
        """Seconds."""
        self.work = 0.0
        """Seconds of work that a rank has done which has computed all the time."""

    def goes(self, computing: int) -> None:
        """So many more ranks compute from now on; fewer, if the number is negative."""
        self._computing += computing
        progress, slowness = self.progress, self._slowness(max(1, self._computing))
        if slowness == progress.slowness[-1]:
            return
        if self.work == progress.work[-1]:
            # Nothing has been done since the last change.
            progress.slowness[-1] = slowness
        else:
            progress.work.append(self.work)
            progress.time.append(self.time)
            progress.slowness.append(slowness)

    def to_work(self, work: float) -> None:
        """Go on until so much work is done."""
        # A rank that was woken just before may be ahead by the last bit.
        if work > self.work:
            self.work, self.time = work, self.progress.time_of(work)

    def to_time(self, time: float) -> None:
        """Go on until a time; one that has passed is now."""
        if time > self.time:
            progress = self.progress
            self.work = progress.work[-1] + (time - progress.time[-1]) / progress.slowness[-1]
            self.time = time
