"""Turns: one run at a time on a cluster, in front or on a background thread, ended when the cluster closes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from toolkit.cluster.engines.interrupts import deferred
from toolkit.cluster.engines.listener import Listener
from toolkit.cluster.job import Job
from toolkit.cluster.progress import Progress, Steps
from toolkit.errors import RunError, ToolkitError
from toolkit.runs.run import Run
from toolkit.runs.run_tables import trace_table
from toolkit.runs.trace import Event


class Turns:
    """Gives the workers to one run at a time.

    A turn begins in the thread that asks for a run and ends when the run has ended, on whichever thread that is. So a
    job has its turn before ``decode(block=False)`` returns: no later call and no ``close()`` can come between.

    Args:
        processes: Returns the host and the process id of each of the cluster's workers, by rank.
        end_workers: Ends the workers.
    """

    def __init__(self, processes: Callable[[], list[tuple[str, int]]], end_workers: Callable[[], None]) -> None:
        self._processes = processes
        self._end_workers = end_workers
        self._busy = threading.Lock()
        self._closing = threading.Event()
        self._ended_by = threading.local()
        self._working: int | None = None
        self._closed_inside = False

    def start(
        self,
        run: Callable[[Listener, list[Event]], Run],
        shown: Progress | Steps,
        *,
        block: bool,
        timeout: float | None,
    ) -> Run | Job[Run]:
        """Make a run.

        Args:
            run: Makes it, given what to do with messages and the list that its events go to.
            shown: Its progress.
            block: Wait for it; otherwise return a job.
            timeout: Seconds after which it is given up.

        Raises:
            RunError: If a rank failed, died or was given up; the error has the events before it.
        """
        heard: dict[int, Event] = {}
        ended = self.given_up()

        def work(cancelled: Callable[[], bool]) -> Run:
            with self._turn(), deferred() as interrupts:
                events: list[Event] = []

                def given_up() -> bool:
                    return cancelled() or ended()

                def note(event: Event) -> None:
                    events.append(event)
                    heard[event.rank] = event
                    shown.update(event)

                listener = Listener(
                    note,
                    on_sending=shown.sending,
                    on_doing=shown.doing,
                    timeout=timeout,
                    cancelled=given_up,
                    interrupts=interrupts,
                )
                try:
                    done = run(listener, events)
                except RunError as error:
                    error.add_note(f"{len(events)} events were recorded before; see error.trace")
                    error.trace = trace_table(events)
                    shown.close("not finished")
                    raise
                shown.close(f"{done!r}")
                return done

        # An interrupt between taking the turn and entering it would keep the turn for ever.
        with deferred():
            self._take()
            if block:
                return work(lambda: False)
            try:
                return Job(work, shown, heard, self._processes)
            except BaseException:
                self._busy.release()
                raise

    @property
    def closing(self) -> bool:
        """Whether the cluster is being closed."""
        return self._closing.is_set()

    @contextmanager
    def cancelled_by(self, event: threading.Event) -> Iterator[None]:
        """Let an event cancel the runs that this thread starts inside the ``with`` block."""
        before = getattr(self._ended_by, "event", None)
        self._ended_by.event = event
        try:
            yield
        finally:
            self._ended_by.event = before

    def given_up(self) -> Callable[[], bool]:
        """A function that tells whether to give up a run that this thread starts now, apart from the run's own job."""
        event = getattr(self._ended_by, "event", None)
        return lambda: self.closing or (event is not None and event.is_set())

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Have a turn for the length of the ``with`` block; refused while a run has one.

        Interrupts must be :func:`deferred` by the caller: one between two lines here would keep the turn for ever.
        """
        self._take()
        with self._turn():
            yield

    def close(self) -> None:
        """End the run that has its turn, wait until it has ended, and end the workers.

        Called from within a run, by a ``stream=`` function, it only asks the run to end: the run raises
        :class:`RunCancelled` and the workers end with it.
        """
        self._closing.set()
        if self._working == threading.get_ident():
            self._closed_inside = True
            return
        with self._busy:
            try:
                self._end_workers()
            finally:
                self._closing.clear()

    def _take(self) -> None:
        """Take the turn; whoever takes it must enter :meth:`_turn`."""
        if not self._busy.acquire(blocking=False):
            if self.closing:
                raise ToolkitError("the cluster is being closed by another thread: call again when it is.")
            raise ToolkitError("the cluster is running a job: wait for its result() or cancel() it first.")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Work during the turn that this or another thread has taken, and give it back."""
        self._working = threading.get_ident()
        try:
            yield
        finally:
            try:
                if self._closed_inside:
                    self._end_workers()
                    self._closing.clear()
            finally:
                self._closed_inside, self._working = False, None
                self._busy.release()
