"""The pool: worker processes, and the loop that listens to them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from toolkit.cluster.engines import faults
from toolkit.cluster.engines.listener import Listener
from toolkit.cluster.engines.local.channel import Channel
from toolkit.cluster.engines.local.launch import Launch, Start, environment
from toolkit.cluster.engines.local.private_folder import private_folder
from toolkit.cluster.engines.local.stopped import Stopped
from toolkit.cluster.engines.parcel import unpack
from toolkit.cluster.engines.setup import Setup
from toolkit.errors import RankDied, RunCancelled, RunError, RunTimeout

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
    """Worker processes that live until they are stopped, one channel each.

    Args:
        setup: The set-up of every worker, except for its rank.
        start: How processes are started.
    """

    def __init__(self, setup: Setup, start: Start) -> None:
        self.setup = setup
        self._start = start
        self._folder = private_folder(self)
        self._generation = 0
        self._launch: Launch | None = None
        self._processes: list[BaseProcess] = []
        self._channels: list[Channel] = []
        self._last: dict[int, str] = {}

    @property
    def running(self) -> bool:
        """Whether there are workers that have joined their group."""
        return bool(self._processes)

    @property
    def pids(self) -> list[int]:
        """Process ids by rank; empty until the workers have joined their group."""
        return [process.pid or 0 for process in self._processes]

    def begin(self) -> None:
        """Begin to start the workers in the background, if there are none."""
        if self._launch is None and not self.running:
            self._generation += 1
            if not self._folder.exists():
                # Somebody has cleaned up the folder of temporary files.
                self._folder = private_folder(self)
            meeting = str(self._folder / "meeting")
            shared = replace(self.setup, meeting=meeting, generation=self._generation, environment=environment())
            self._launch = Launch([replace(shared, rank=rank) for rank in range(self.setup.size)], self._start)

    def start(self, listener: Listener) -> None:
        """Start the workers, if there are none, and wait until all have joined their group.

        Raises:
            RunError: If a worker could not be started, or did not join in time.
        """
        if self.running:
            return
        self._check(listener, [])
        self.begin()
        assert self._launch is not None
        listener = listener.within(START_LIMIT)
        while not self._launch.wait(TURN):
            self._check(listener, list(range(len(self._launch.processes), self.setup.size)), "its process is starting")
        launch, self._launch = self._launch, None
        self._processes, self._channels = launch.processes, launch.channels
        if launch.error is not None:
            raise RunError(f"a worker could not be started: {launch.error}") from launch.error
        try:
            self.listen(range(self.setup.size), "up", listener=listener)
        except RankDied as error:
            error.add_note(UNGUARDED)
            raise
        self.send(range(self.setup.size), "siblings", self.pids)

    def send(self, ranks: Iterable[int], *message: Any) -> None:
        """Send a message to some ranks. If a rank's process has ended, listening finds out."""
        for rank in ranks:
            with suppress(OSError):
                self._channels[rank].send(message)

    def regroup(self, listener: Listener) -> None:
        """Let the workers leave their group and join a new one: after a fault, messages of the old may be half sent."""
        self._generation += 1
        everyone = range(self.setup.size)
        self.send(everyone, "regroup", self._generation)
        self.listen(everyone, "up", listener=listener)

    def listen(self, ranks: Sequence[int], word: str, *, listener: Listener) -> dict[int, Any]:
        """Listen until each of ``ranks`` has said ``word``; returns what they said with it.

        Raises:
            RunError: The first cause, if a rank failed or died, the timeout is over, or the user pressed Stop.
                ``settled`` on the error says whether all ranks had answered by then.
        """
        answers: dict[int, Any] = {}
        errors: dict[int, RunError] = {}
        self._last = dict.fromkeys(ranks, "nothing heard of it yet")
        kills, give_up, stopped = faults.out_of_memory_kills(), float("inf"), Stopped()
        while len(answers) + len(errors) < len(ranks) and time.monotonic() < give_up:
            waiting = [rank for rank in ranks if rank not in answers and rank not in errors]
            self._check(listener, waiting)
            if still := stopped.look({rank: self.pids[rank] for rank in waiting}):
                raise RunTimeout.of_stopped(still, stopped.limit)
            for rank in self._ready(waiting):
                found = self._hear(rank, word, listener=listener, kills=kills)
                if isinstance(found, RunError):
                    errors[rank] = found
                elif found is not None:
                    answers[rank] = found[0]
            if errors and give_up == float("inf"):
                give_up = time.monotonic() + GRACE
        if errors:
            error = faults.first_cause(list(errors.values()))
            settled = len(answers) + len(errors) == len(ranks)
            error.settled = settled and all(process.is_alive() for process in self._processes)
            try:
                raise error
            finally:
                # The traceback has this frame, and with it all that the frames above hold, such as shared memory.
                del error, errors
        return answers

    def stop(self) -> None:
        """End all workers: those at rest by asking them, the others by SIGTERM, then SIGKILL."""
        self.send(range(len(self._channels)), "end")
        deadline = time.monotonic() + GRACE
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """End all workers now, whatever they are doing, and what they have started."""
        if self._launch is not None:
            self._launch.abandon()
            self._launch = None
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + GRACE / 2
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
            with suppress(OSError):
                # A worker leads a group of its own, of which processes that it started are members, too.
                os.killpg(process.pid or 0, signal.SIGKILL)
            process.kill()
            process.join(5)
        for channel in self._channels:
            channel.close()
        self._processes, self._channels = [], []

    def _check(self, listener: Listener, waiting: list[int], doing: str = "") -> None:
        """Raise if the user pressed Stop or the timeout is over."""
        if listener.stopped:
            raise RunCancelled("the run was cancelled; its workers were stopped.")
        if listener.overdue:
            raise RunTimeout.of_run(tuple(waiting), listener.timeout or 0.0, last=doing or self._describe(waiting))

    def _ready(self, ranks: list[int]) -> list[int]:
        """The ranks that have sent a message or whose process has ended."""
        if unread := [rank for rank in ranks if self._channels[rank].complete]:
            return unread
        handles: dict[Any, int] = {self._channels[rank]: rank for rank in ranks}
        ends: dict[Any, int] = {self._processes[rank].sentinel: rank for rank in ranks}
        found = connection.wait([*handles, *ends], timeout=TURN)
        return sorted({(handles | ends)[one] for one in found})

    def _hear(self, rank: int, word: str, *, listener: Listener, kills: int) -> tuple[Any] | RunError | None:
        """Read one rank's messages: its answer in a tuple, its error, or None where there is neither yet."""
        until = time.monotonic() + TURN
        # Messages that a rank sent before it died are read before its death is believed. A rank that prints without
        # end always has one more: the turn ends, so that Stop and the timeout are seen.
        while self._has_message(rank):
            kind, *rest = self._channels[rank].take()
            if kind == "failed":
                summary, remote_traceback = rest
                return faults.failed(rank, summary, remote_traceback=remote_traceback)
            if kind == word:
                return (rest[0] if rest else None,)
            self._handle(rank, kind, rest=rest, listener=listener)
            # After a band, too: the user's function may be slower than the bands come, and Stop must not wait for it.
            if kind == "band" or time.monotonic() > until:
                return None
        if self._processes[rank].is_alive():
            return None
        struck = faults.out_of_memory_kills() - kills
        return faults.died(rank, self._processes[rank].exitcode, oom_kills=struck, last=self._last[rank])

    def _has_message(self, rank: int) -> bool:
        """Whether a message of a rank has come. A rank that has closed its end is given a moment to end, too."""
        channel = self._channels[rank]
        try:
            if not channel.complete:
                channel.fill()
        except (EOFError, OSError):
            self._processes[rank].join(GRACE)
        return channel.complete

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
        states = (f"rank {r} {faults.process_state(self.pids[r])}, {self._last[r]}" for r in ranks)
        return "; ".join(states)
