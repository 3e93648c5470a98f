"""Ranks that a signal has stopped: they answer nothing, and nothing else tells that they never will."""

from __future__ import annotations

import time
from collections.abc import Mapping

from toolkit.cluster.engines.faults import is_stopped

LOOK_EVERY = 0.5
"""Seconds between two looks at the processes."""


class Stopped:
    """Watches for processes that stay stopped.

    A terminal's Ctrl-Z stops this process with its workers: a pause between two looks counts as no time.

    Args:
        limit: Seconds for which a process may be stopped, as by a debugger.

    Example:
        >>> import os
        >>> Stopped().look({0: os.getpid()})
        ()
    """

    def __init__(self, limit: float = 5.0) -> None:
        self.limit = limit
        self._seconds: dict[int, float] = {}
        self._looked = time.monotonic()

    def look(self, pids: Mapping[int, int]) -> tuple[int, ...]:
        """The ranks whose processes have been stopped for longer than the limit.

        Args:
            pids: The process ids of the ranks that are waited for, by rank.
        """
        since = time.monotonic() - self._looked
        if since < LOOK_EVERY:
            return ()
        self._looked += since
        for rank, pid in pids.items():
            stopped = is_stopped(pid)
            self._seconds[rank] = self._seconds.get(rank, 0.0) + min(since, 2 * LOOK_EVERY) if stopped else 0.0
        return tuple(rank for rank in pids if self._seconds[rank] > self.limit)
