"""Jobs: runs that continue in the background while the notebook stays usable."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from toolkit.cluster.engines.time_limit import time_limit
from toolkit.cluster.progress import Progress, Steps
from toolkit.errors import RunTimeout
from toolkit.runs.trace import Event, clock

T = TypeVar("T")


class Job(Generic[T]):
    """A run on a background thread.

    Args:
        work: Does the run; it is given a function that says whether to give up.
        progress: The run's progress.
        heard: The last event of each rank; filled by the run.
        processes: Returns the host and the process id of each worker, by rank; the host is empty for this machine.
    """

    def __init__(
        self,
        work: Callable[[Callable[[], bool]], T],
        progress: Progress | Steps,
        heard: Mapping[int, Event],
        processes: Callable[[], list[tuple[str, int]]],
    ) -> None:
        self._cancel = threading.Event()
        self._progress = progress
        self._heard = heard
        self._processes = processes
        self._value: T
        self._error: BaseException | None = None
        self._begin, self._end = clock(), float("nan")
        self._thread = threading.Thread(target=self._run, args=(work,), name="toolkit-job", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether the run has ended, with a result or an error."""
        return not self._thread.is_alive()

    @property
    def progress(self) -> dict[int, tuple[int, int]]:
        """Parts done and parts in total, by rank; for a pipeline, the steps of its loops, as rank 0 computes them."""
        return {rank: (self._progress.done[rank], total) for rank, total in enumerate(self._progress.totals)}

    @property
    def heard(self) -> dict[int, Event]:
        """The last event of each rank, without the ranks that have not reported one yet."""
        return dict(self._heard)

    @property
    def pids(self) -> list[int]:
        """Process ids of the cluster's workers, by rank, each on its own host; empty while there are none."""
        return [pid for _, pid in self._processes()]

    @property
    def hosts(self) -> list[str]:
        """The hosts of the cluster's workers, by rank, empty words for this machine; empty while there are none."""
        return [host for host, _ in self._processes()]

    @property
    def seconds(self) -> float:
        """How long the run has taken so far, or took."""
        return (self._end if self.done else clock()) - self._begin

    @property
    def error(self) -> BaseException | None:
        """What the run raised; None if it raised nothing or has not ended."""
        return self._error if self.done else None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run has ended, for at most ``timeout`` seconds; returns whether it has ended."""
        self._thread.join(time_limit(timeout))
        return self.done

    def result(self, timeout: float | None = None) -> T:
        """Wait for the run and return it, or raise what it raised.

        Raises:
            RunTimeout: If it has not ended within ``timeout`` seconds. The run goes on.
        """
        if not self.wait(timeout):
            raise RunTimeout.of_wait(timeout or 0.0)
        if self._error is not None:
            raise self._error
        return self._value

    def cancel(self, wait: bool = True) -> None:
        """End the run: its workers are stopped within seconds, and ``result()`` raises :class:`RunCancelled`.

        Args:
            wait: Return when the run has ended; otherwise return at once.
        """
        self._cancel.set()
        if wait:
            self._thread.join()

    def _run(self, work: Callable[[Callable[[], bool]], T]) -> None:
        try:
            self._value = work(self._cancel.is_set)
        except BaseException as error:
            self._error = error
        self._end = clock()

    def __repr__(self) -> str:
        done, total = (sum(pair[i] for pair in self.progress.values()) for i in (0, 1))
        state = "running" if not self.done else "failed" if self._error else "done"
        of = f" of {total}" if total else ""
        return f"Job({state}, {done}{of} {self._progress.noun})"
