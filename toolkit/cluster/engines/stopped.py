"""Ranks that a signal has stopped: they answer nothing, and nothing else tells that they never will."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

LOOK_EVERY = 0.5
"""Seconds between two looks at the processes."""


class Stopped:
    """Watches for processes that stay stopped.

    A terminal's Ctrl-Z stops this process with its workers: a pause between two looks counts as no time.

    Args:
        is_stopped: Tells whether a rank's process is stopped now.
        limit: Seconds for which a process may be stopped, as by a debugger.

    Example:
        >>> Stopped(lambda rank: False).look([0])
        ()
    """

    def __init__(self, is_stopped: Callable[[int], bool], limit: float = 5.0) -> None:
        self._is_stopped, self.limit = is_stopped, limit
        self._seconds: dict[int, float] = {}
        self._looked = time.monotonic()

    def look(self, ranks: Sequence[int]) -> tuple[int, ...]:
        """Those ranks whose processes have been stopped for longer than the limit.

        Args:
            ranks: The ranks that are waited for.
        """
        since = time.monotonic() - self._looked
        if since < LOOK_EVERY:
            return ()
        self._looked += since
        for rank in ranks:
            stopped = self._is_stopped(rank)
            self._seconds[rank] = self._seconds.get(rank, 0.0) + min(since, 2 * LOOK_EVERY) if stopped else 0.0
        return tuple(rank for rank in ranks if self._seconds[rank] > self.limit)
