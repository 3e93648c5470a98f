"""The workers of a cluster: how they are set up, whose turn it is to use them, and what a record says of them."""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from toolkit.cluster.calls import Calls
from toolkit.cluster.engines.interrupts import deferred
from toolkit.cluster.engines.listener import Listener
from toolkit.cluster.engines.opened import Opened
from toolkit.cluster.engines.setup import Setup
from toolkit.cluster.engines.shelf import Identify
from toolkit.cluster.engines.time_limit import time_limit
from toolkit.cluster.job import Job
from toolkit.cluster.progress import Progress, Steps
from toolkit.cluster.turns import Turns
from toolkit.runs.run import Run
from toolkit.runs.trace import Event


def _drop(calls: Calls, maker: int) -> None:
    # A fork of the kernel exits, too, and the workers are not its own.
    if os.getpid() == maker:
        calls.drop_workers()
        calls.pool.engine.close()


class Workers:
    """Worker processes that begin to start at once and end with this object, closed or not.

    Args:
        setup: The set-up of every worker.
        opened: What starts them, and on which devices.
        identify: What tells whether a model has changed; see :class:`~toolkit.cluster.engines.shelf.Shelf`.
    """

    def __init__(self, setup: Setup, opened: Opened, *, identify: Identify) -> None:
        self.setup = setup
        self.device = opened.device
        self._how = opened.how
        self._calls = calls = Calls(setup, opened.engine, identify)
        self._turns = Turns(lambda: calls.pool.processes, calls.close)
        calls.pool.begin()
        # A cluster that nobody closed and nobody refers to any more must not keep its processes. Nor may one that is
        # open when the kernel exits: multiprocessing would wait there for a worker that is stopped by a signal.
        weakref.finalize(self, _drop, calls, os.getpid())

    @property
    def pids(self) -> list[int]:
        """Process ids by rank; empty while the workers start and after a fault."""
        return self._calls.pool.pids

    @property
    def hosts(self) -> list[str]:
        """The host of each rank, by rank; empty where all ranks are on this machine."""
        return self._calls.pool.engine.hosts

    @property
    def staged(self) -> bool:
        """Whether messages between ranks pass through the host: with gloo and an accelerator."""
        return self.device.type != "cpu" and self.setup.backend == "gloo"

    def call_all(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        *,
        kwargs: Mapping[str, Any],
        timeout: float | None,
    ) -> list[Any]:
        """Call a function on every rank; returns one result per rank."""
        limit = time_limit(timeout)
        with deferred() as interrupts, self._turns.exclusive():
            listener = Listener(timeout=limit, cancelled=self._turns.given_up(), interrupts=interrupts)
            ranks = range(self.setup.size)
            answers = self._calls.call(ranks, function, self._calls.prepare(args, listener), dict(kwargs), listener)
            return [answers[rank] for rank in ranks]

    def make(
        self,
        run: Callable[[Calls, Listener, list[Event]], Run],
        shown: Progress | Steps,
        *,
        block: bool,
        timeout: float | None,
    ) -> Run | Job[Run]:
        """Make a run, or a job that makes it in the background.

        Args:
            run: Makes the run, given the calls to the workers, what to do with messages, and the list of events.
            shown: The progress of the run.
            block: Wait for the run; otherwise return a job.
            timeout: Seconds after which the run is given up.
        """

        def work(listener: Listener, events: list[Event]) -> Run:
            return run(self._calls, listener, events)

        return self._turns.start(work, shown, block=block, timeout=time_limit(timeout))

    def describe(self) -> dict[str, Any]:
        """The cluster's part of a record."""
        setup = self.setup
        return {
            "ranks": setup.size,
            "device": str(self.device),
            "backend": setup.backend,
            "staged through the host": self.staged,
            "ranks share one card on its own backend": setup.one_card,
            "threads": setup.threads,
            "convolutions": setup.convolutions,
            "keep_memory": setup.keep_memory,
            "start": self._how,
        }

    def cancelled_by(self, event: threading.Event) -> AbstractContextManager[None]:
        """As :meth:`Turns.cancelled_by`."""
        return self._turns.cancelled_by(event)

    def close(self) -> None:
        """End the run that goes on, and the workers. The next run starts new ones."""
        with deferred():
            self._turns.close()

    def __str__(self) -> str:
        setup = self.setup
        via = setup.backend
        if self.staged:
            via += ", staged through the host"
        if setup.one_card:
            via += " between ranks that share a card, through sockets: for tests"
        state = "running" if self._calls.pool.running else "not started"
        where = "".join(f", {count} on {name}" for name, count in Counter(self.hosts).items())
        return f"{setup.size} ranks on {self.device.type}{where}, {via}, {setup.threads} thread(s) each; {state}"
