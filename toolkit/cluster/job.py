"""Jobs: runs that go on while the notebook stays usable."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from toolkit.cluster.progress import Progress, Steps
from toolkit.errors import RunTimeout

T = TypeVar("T")


class Job(Generic[T]):
    """A run on a background thread.

    Args:
        work: does the run; is given a function that tells whether to give up.
        progress: the run's progress.
    """

    def __init__(self, work: Callable[[Callable[[], bool]], T], progress: Progress | Steps) -> None:
        self._cancel = threading.Event()
        self._progress = progress
        self._value: T
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), name="toolkit-job", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether the run has ended, in whichever way."""
        return not self._thread.is_alive()

    @property
    def progress(self) -> dict[int, tuple[int, int]]:
        """Tiles done and tiles in all, by rank."""
        return {rank: (self._progress.done[rank], total) for rank, total in enumerate(self._progress.totals)}

    def result(self, timeout: float | None = None) -> T:
        """Wait for the run and return it, or raise what it raised.

        Raises:
            RunTimeout: where it has not ended within ``timeout`` seconds; it goes on.
        """
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise RunTimeout((), timeout or 0.0, "the job goes on")
        if self._error is not None:
            raise self._error
        return self._value

    def cancel(self) -> None:
        """End the run: its workers are stopped within seconds, and ``result()`` raises."""
        self._cancel.set()
        self._thread.join()

    def _run(self, work: Callable[[Callable[[], bool]], T]) -> None:
        try:
            self._value = work(self._cancel.is_set)
        except BaseException as error:
            self._error = error

    def __repr__(self) -> str:
        done, total = (sum(pair[i] for pair in self.progress.values()) for i in (0, 1))
        state = "running" if not self.done else "failed" if self._error else "done"
        return f"Job({state}, {done} of {total} tiles)"
