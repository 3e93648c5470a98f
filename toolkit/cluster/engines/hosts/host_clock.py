"""The clock of another host beside this one's: by how much it is ahead, and how sure that is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from toolkit.cluster.engines.engine_protocol import Offset

KEPT = 60.0
"""Seconds for which a measurement counts: clocks drift apart, by some microseconds a second."""


@dataclass(slots=True)
class HostClock:
    """Measures a host's clock by questions that it answers with its time.

    The answer was given at some time between question and answer; which, nobody can know. So the offset is that of the
    middle, and wrong by half of the time between them at most. The quickest answer is the best, as in NTP.

    Example:
        >>> clock = HostClock()
        >>> clock.note(asked=10.0, told=1012.0, heard=14.0)
        >>> clock.note(asked=20.0, told=1020.6, heard=21.0)
        >>> clock.offset
        Offset(ahead=1000.1, within=0.5)
    """

    _measured: deque[tuple[float, Offset]] = field(default_factory=deque)

    def note(self, *, asked: float, told: float, heard: float) -> None:
        """Take note of an answer.

        Args:
            asked: When the question left, on this host's clock.
            told: The other host's time.
            heard: When the answer came, on this host's clock.
        """
        while self._measured and heard - self._measured[0][0] > KEPT:
            self._measured.popleft()
        self._measured.append((heard, Offset(told - (asked + heard) / 2, (heard - asked) / 2)))

    @property
    def offset(self) -> Offset | None:
        """The best measurement of the last minute; None before the first."""
        return min((offset for _, offset in self._measured), key=lambda offset: offset.within, default=None)
