"""The pool: the ranks of a cluster, and the loop that listens to them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from toolkit.cluster.engines import faults
from toolkit.cluster.engines.engine_protocol import Engine
from toolkit.cluster.engines.listener import Listener
from toolkit.cluster.engines.parcel import unpack
from toolkit.cluster.engines.setup import Setup
from toolkit.cluster.engines.stopped import Stopped
from toolkit.distributed.comm.descriptors import remedy_of
from toolkit.errors import RankDied, RankFailed, RunCancelled, RunError, RunTimeout

GRACE = 1.0
"""Seconds that other ranks are given to report their side after the first fault."""

START_LIMIT = 600.0
"""Seconds after which workers that have not joined their group are given up, where the run has no timeout."""

TURN = 0.05
"""Seconds for which one rank's messages are read before Stop, the timeout and the other ranks have their turn."""

UNGUARDED = (
    "It ended before it was up. New processes import the script that starts them: in a script, use a cluster under "
    '`if __name__ == "__main__":`.'
)


class Pool:
    """Worker processes that live until they are stopped.

    Args:
        setup: The set-up of every worker, except for its rank.
        engine: What starts the processes and carries messages to them.
    """

    def __init__(self, setup: Setup, engine: Engine) -> None:
        self.setup, self.engine = setup, engine
        self._generation = 0
        self._begun = self._started = False
        self._last: dict[int, str] = {}

    @property
    def running(self) -> bool:
        """Whether the workers have been started."""
        return self._started

    @property
    def pids(self) -> list[int]:
        """Process ids by rank; empty until the workers have been started."""
        return self.engine.pids if self._started else []

    @property
    def processes(self) -> list[tuple[str, int]]:
        """The host and the process id of each worker, by rank; the host is empty for this machine."""
        return list(zip(self.engine.hosts or [""] * self.setup.size, self.pids, strict=False))

    def begin(self) -> None:
        """Begin to start the workers in the background, if there are none."""
        if not self._begun:
            self._begun = True
            self._generation += 1
            setup = replace(self.setup, generation=self._generation)
            self.engine.begin([replace(setup, rank=rank) for rank in range(setup.size)])

    def start(self, listener: Listener) -> None:
        """Start the workers, if there are none, and wait until all have joined their group.

        Raises:
            RunError: If a worker could not be started, or did not join in time.
        """
        if self.running:
            return
        self._check(listener, [])
        self.begin()
        listener = listener.within(START_LIMIT)
        while not self.engine.wait(TURN):
            starting = list(range(len(self.engine.pids), self.setup.size))
            self._check(listener, starting, "its process is starting")
        self._started = True
        if (why := self.engine.error) is not None:
            raise RunError(f"a worker could not be started: {why}{remedy_of(why)}") from why
        try:
            self.listen(range(self.setup.size), "up", listener=listener)
        except RankDied as error:
            if not self.engine.hosts:
                error.add_note(UNGUARDED)
            raise
        self.engine.joined()

    def send(self, ranks: Iterable[int], *message: Any) -> None:
        """Send a message to some ranks. If a rank's process has ended, listening finds out."""
        self.engine.send(ranks, message)

    def regroup(self, listener: Listener) -> None:
        """Let the workers leave their group and join a new one: after a fault, messages of the old may be half sent."""
        self._generation += 1
        everyone = range(self.setup.size)
        self.send(everyone, "regroup", self._generation)
        self.listen(everyone, "up", listener=listener)

    def listen(self, ranks: Sequence[int], word: str, *, listener: Listener) -> dict[int, Any]:
        """Listen until each of ``ranks`` has said ``word``; returns what they said with it, but for lost ones.

        Raises:
            RunError: The first cause, if a rank failed or died, the timeout is over, or the user pressed Stop.
                ``settled`` on the error says whether all ranks had answered by then.
        """
        answers: dict[int, Any] = {}
        errors: dict[int, RunError] = {}
        lost: set[int] = set()
        self._last = dict.fromkeys(ranks, "nothing heard of it yet")
        self.engine.watch()
        give_up, stopped = float("inf"), Stopped(self.engine.is_stopped)
        while (waiting := [rank for rank in ranks if rank not in {*answers, *errors, *lost}]) and (
            time.monotonic() < give_up
        ):
            self._check(listener, waiting)
            if left := self.engine.unsent:
                listener.on_sending(left)
            if still := stopped.look(waiting):
                raise RunTimeout.of_stopped(still, stopped.limit)
            for rank in self.engine.ready(waiting, TURN):
                found = self._hear(rank, word, listener=listener)
                if isinstance(found, RankDied) and listener.on_loss is not None:
                    lost.add(rank)
                    listener.on_loss(found)
                elif isinstance(found, RunError):
                    errors[rank] = found
                elif found is not None:
                    answers[rank] = found[0]
            if errors and give_up == float("inf"):
                give_up = time.monotonic() + GRACE
        if errors:
            error = faults.first_cause(list(errors.values()))
            settled = not waiting
            error.settled = settled and all(self.engine.ended(rank) is None for rank in range(self.setup.size))
            if self.engine.hosts and isinstance(error, RankDied | RankFailed):
                error.add_note(f"rank {error.rank} is on {self.engine.hosts[error.rank]}")
            try:
                raise error
            finally:
                # The traceback has this frame, and with it all that the frames above hold, such as shared memory.
                del error, errors
        return answers

    def stop(self) -> None:
        """End all workers: those at rest by asking them, the others by force; and give the engine's own back."""
        if self._started:
            self.send(range(self.setup.size), "end")
        self._end(GRACE)
        self.engine.close()

    def kill(self) -> None:
        """End all workers now, whatever they are doing, and what they have started."""
        self._end(0.0)

    def _end(self, grace: float) -> None:
        try:
            self.engine.end(grace)
        finally:
            self._begun = self._started = False

    def _check(self, listener: Listener, waiting: list[int], doing: str = "") -> None:
        """Raise if the user pressed Stop or the timeout is over."""
        if listener.stopped:
            raise RunCancelled("the run was cancelled; its workers were stopped.")
        if listener.overdue:
            raise RunTimeout.of_run(tuple(waiting), listener.timeout or 0.0, last=doing or self._describe(waiting))

    def _hear(self, rank: int, word: str, *, listener: Listener) -> tuple[Any] | RunError | None:
        """Read one rank's messages: its answer in a tuple, its error, or None where there is neither yet."""
        until = time.monotonic() + TURN
        # Messages that a rank sent before it died are read before its death is believed. A rank that prints without
        # end always has one more: the turn ends, so that Stop and the timeout are seen.
        while (message := self.engine.take(rank)) is not None:
            kind, *rest = message
            if kind == "failed":
                summary, remote_traceback = rest
                return faults.failed(rank, summary, remote_traceback=remote_traceback)
            if kind == word:
                return (rest[0] if rest else None,)
            self._handle(rank, kind, rest=rest, listener=listener)
            # After a band, too: the user's function may be slower than the bands come, and Stop must not wait for it.
            if kind == "band" or time.monotonic() > until:
                return None
        ended = self.engine.ended(rank)
        return None if ended is None else faults.died(rank, ended, last=self._last[rank])

    def _handle(self, rank: int, kind: str, *, rest: list[Any], listener: Listener) -> None:
        """Act on a message that is not an answer."""
        if kind == "events":
            self._last[rank] = f"last heard: {rest[0][-1].kind} {rest[0][-1].label} done"
            for event in rest[0]:
                listener.on_event(event)
        elif kind == "line":
            listener.on_line(rank, *rest)
        elif kind == "band":
            listener.on_band(*unpack(rest[0]))
            self.send([rank], "taken")

    def _describe(self, ranks: list[int]) -> str:
        return "; ".join(f"rank {rank} {self.engine.state(rank)}, {self._last[rank]}" for rank in ranks)
