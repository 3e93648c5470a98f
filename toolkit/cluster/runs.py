"""Runs: one at a time on a cluster, in front or on a background thread, ended when the cluster closes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from toolkit.cluster.engines.local.interrupts import deferred
from toolkit.cluster.engines.local.pool import Listener
from toolkit.cluster.job import Job
from toolkit.cluster.progress import Progress, Steps
from toolkit.errors import RunError, ToolkitError
from toolkit.runs.run import Run
from toolkit.runs.run_tables import trace_table
from toolkit.runs.trace import Event


class Runs:
    """What a cluster is doing.

    Args:
        pids: asked for the process ids of its workers, by rank.
    """

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        self._pids = pids
        self._busy = threading.Lock()
        self._closing = threading.Event()

    def start(
        self,
        run: Callable[[Listener, list[Event]], Run],
        shown: Progress | Steps,
        block: bool,
        timeout: float | None,
    ) -> Run | Job[Run]:
        """Make a run.

        Args:
            run: makes it, given what to do with messages, and the list that its events go to.
            shown: its progress.
            block: wait for it; else return a job.
            timeout: seconds after which it is given up.

        Raises:
            RunError: where a rank failed, died or was given up, with the events before it.
        """
        heard: dict[int, Event] = {}

        def work(cancelled: Callable[[], bool]) -> Run:
            with self.exclusive(), deferred() as interrupts:
                events: list[Event] = []

                def given_up() -> bool:
                    return cancelled() or self._closing.is_set()

                def note(event: Event) -> None:
                    events.append(event)
                    heard[event.rank] = event
                    shown.update(event)

                listener = Listener(note, timeout=timeout, cancelled=given_up, interrupts=interrupts)
                try:
                    done = run(listener, events)
                except RunError as error:
                    error.add_note(f"{len(events)} events were recorded before; see error.trace")
                    error.trace = trace_table(events)
                    shown.close("not finished")
                    raise
                shown.close(f"{done!r}")
                return done

        return work(lambda: False) if block else Job(work, shown, heard, self._pids)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """One run at a time: a second is refused instead of mixing its messages with the first's."""
        if not self._busy.acquire(blocking=False):
            raise ToolkitError("the cluster is running a job: wait for its result() or cancel() it first.")
        try:
            yield
        finally:
            self._busy.release()

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Give up a run that goes on, and then let no other begin."""
        self._closing.set()
        with self._busy:
            self._closing.clear()
            yield
