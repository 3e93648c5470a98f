"""What happens to each part of a run at a moment, found by searching sorted intervals for all parts at once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
States = npt.NDArray[np.uint8]


class State(IntEnum):
    """What happens to a part.

    The larger the value, the more it deserves to be seen: where many parts share a cell of a map, the largest is shown.
    """

    NONE = 0
    """There is no part here."""
    DONE = 1
    """The last thing that the run does with it is over."""
    WAITING = 2
    """Nothing has been done with it yet. A shard or a stage also waits while its rank is blocked by another rank."""
    HELD = 3
    """It is begun and not done, and nothing happens to it, such as to a tile while its rank computes the next."""
    TRAVELLING = 4
    """One of its messages is under way, and no rank computes it."""
    COMPUTING = 5
    """A rank computes it."""


SHOWN = (State.WAITING, State.COMPUTING, State.HELD, State.TRAVELLING, State.DONE)
"""The states in the order of a legend."""


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Intervals of time of many owners, ready to be asked which owners are inside one of theirs.

    An interval includes its start and excludes its end. Times are replaced by their place among all bounds, so that
    owner and time make one integer, and one search over all integers answers for all owners without rounding.

    Attributes:
        bounds: All starts and ends, sorted, each once.
        starts: Owner and start of each interval as one integer, sorted.
        ends: Owner and end of each interval as one integer, sorted.
        owners: Number of owners.
    """

    bounds: Floats
    starts: Ints
    ends: Ints
    owners: int

    @classmethod
    def of(cls, owner: Ints, start: Floats, end: Floats, *, owners: int) -> Self:
        """The intervals ``start`` to ``end`` of the given owners; those of owner -1 are left out.

        Example:
            >>> two = Spans.of(np.array([0, 1]), np.array([0.0, 1.0]), np.array([1.0, 3.0]), owners=2)
            >>> two.inside(np.array([0.0, 1.0, 3.0])).tolist()
            [[True, False], [False, True], [False, False]]
        """
        kept = owner >= 0
        owner, start, end = owner[kept], start[kept], np.maximum(start, end)[kept]
        bounds = np.unique(np.concatenate([start, end]))
        keys = [np.sort(owner * (len(bounds) + 1) + np.searchsorted(bounds, at) + 1) for at in (start, end)]
        return cls(bounds, keys[0], keys[1], owners)

    def inside(self, times: Floats) -> npt.NDArray[np.bool_]:
        """Whether each owner is inside one of its intervals: ``times x owners``."""
        step = len(self.bounds) + 1
        at = np.arange(self.owners) * step + np.searchsorted(self.bounds, times, "right")[:, None]
        # Owners with smaller numbers add as many starts as ends.
        begun, ended = (np.searchsorted(keys, at, "right") for keys in (self.starts, self.ends))
        return np.asarray(begun > ended)

    def outermost(self) -> tuple[Floats, Floats]:
        """The first start and the last end of each owner; infinity for owners without intervals."""
        first, last = (np.full(self.owners, np.inf) for _ in range(2))
        step = len(self.bounds) + 1
        np.minimum.at(first, (self.starts - 1) // step, self.bounds[(self.starts - 1) % step])
        last[np.isfinite(first)] = -np.inf
        np.maximum.at(last, (self.ends - 1) // step, self.bounds[(self.ends - 1) % step])
        return first, last


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """The course of all parts of a run.

    Attributes:
        computing: When each part is computed.
        travelling: When each part has a message under way.
        blocked: When each rank waits.
        owners: The place of each part's rank in ``blocked``.
        first: When each part begins.
        last: When each part is done.
    """

    computing: Spans
    travelling: Spans
    blocked: Spans
    owners: Ints
    first: Floats
    last: Floats

    @classmethod
    def of(cls, computing: Spans, travelling: Spans, blocked: Spans, *, owners: Ints) -> Self:
        """The course that follows from when parts are computed and sent, and when ranks are blocked."""
        (begin, end), (leaves, comes) = computing.outermost(), travelling.outermost()
        last = np.where(np.isinf(end), comes, np.where(np.isinf(comes), end, np.maximum(end, comes)))
        return cls(computing, travelling, blocked, owners, np.minimum(begin, leaves), last)

    def states(self, times: Floats) -> States:
        """The :class:`State` of each part at each time: ``times x parts``."""
        at = times[:, None]
        waiting = (at < self.first) | self.blocked.inside(times)[:, self.owners]
        found = np.where(waiting, State.WAITING, State.HELD).astype(np.uint8)
        found[at >= self.last] = State.DONE
        found[self.travelling.inside(times)] = State.TRAVELLING
        found[self.computing.inside(times)] = State.COMPUTING
        return found
