"""The pool: worker processes, their pipes, and the loop that listens to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

from torch import Tensor, multiprocessing

from toolkit.cluster.engines.local import faults
from toolkit.cluster.engines.local.interrupts import Interrupts
from toolkit.cluster.engines.local.wire import unpack
from toolkit.cluster.engines.local.worker import Setup, main
from toolkit.distributed.comm.group import host_store
from toolkit.errors import RankDied, RunCancelled, RunError, RunTimeout

GRACE = 1.0
"""Seconds that other ranks are given to tell their side after the first fault."""


@dataclass(slots=True)
class Listener:
    """What is done with messages, and what ends the listening.

    Attributes:
        on_event: called with each traced event.
        on_line: called with rank, stream name and a line that a rank printed.
        on_band: called with each band of a streamed output, and its start.
        timeout: seconds after which the ranks are given up; None: never.
        cancelled: asked now and then whether to give up.
        interrupts: counts Stop.
    """

    on_event: Callable[[Any], None] = lambda event: None
    on_line: Callable[[int, str, str], None] = lambda rank, stream, text: print(f"[rank {rank}] {text}")
    on_band: Callable[[Tensor, int], None] = lambda band, start: None
    timeout: float | None = None
    cancelled: Callable[[], bool] = lambda: False
    interrupts: Interrupts = field(default_factory=Interrupts)


class Pool:
    """Worker processes that live until they are stopped, one pipe each.

    Args:
        setup: set-up of every worker, its own rank apart.
        start: how processes are started: ``"spawn"``, or ``"forkserver"`` (quick, CPU only).
    """

    def __init__(self, setup: Setup, start: str) -> None:
        self.setup = setup
        self._context: Any = multiprocessing.get_context(start)
        if start == "forkserver":
            self._context.set_forkserver_preload(["toolkit.cluster.engines.local.worker", "diffusers"])
        self._store = host_store(setup.timeout)
        self._generation = 0
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        self._last: dict[int, str] = {}
        self._started = 0.0

    @property
    def running(self) -> bool:
        """Whether there are workers."""
        return bool(self._processes)

    @property
    def pids(self) -> list[int]:
        """Process ids by rank."""
        return [process.pid or 0 for process in self._processes]

    def start(self, listener: Listener) -> None:
        """Start the workers and wait until all have joined their group."""
        self._generation += 1
        for rank in range(self.setup.size):
            mine, theirs = self._context.Pipe()
            setup = replace(self.setup, rank=rank, port=self._store.port, generation=self._generation)
            process = self._context.Process(target=main, args=(theirs, setup), name=f"rank {rank}", daemon=True)
            self._processes.append(process)
            self._pipes.append(mine)
            process.start()
            theirs.close()
        try:
            self.listen(range(self.setup.size), "up", listener)
        except RankDied as error:
            error.add_note(
                "It ended before it was up. Spawned processes import the script that starts them: in a script, use a "
                'cluster under `if __name__ == "__main__":`.'
            )
            raise

    def send(self, ranks: Iterable[int], *message: Any) -> None:
        """Send a message to some ranks. One whose process has ended is found out while listening."""
        for rank in ranks:
            try:
                self._pipes[rank].send_bytes(ForkingPickler.dumps(message))
            except OSError:
                continue

    def regroup(self, listener: Listener) -> None:
        """Let the workers leave their group and join a new one: after a fault no message of the old can be trusted."""
        self._generation += 1
        everyone = range(self.setup.size)
        self.send(everyone, "regroup", self._generation)
        self.listen(everyone, "up", listener)

    def listen(self, ranks: Sequence[int], word: str, listener: Listener) -> dict[int, Any]:
        """Listen until each of ``ranks`` has said ``word``; returns what they said with it.

        Raises:
            RunError: the first cause, where a rank failed, died or was given up. ``settled`` on the error tells whether
                all ranks had answered by then.
            KeyboardInterrupt: not here; an interrupt ends the listening with :class:`RunCancelled`.
        """
        answers: dict[int, Any] = {}
        errors: dict[int, RunError] = {}
        self._last = dict.fromkeys(ranks, "nothing heard of it yet")
        self._started = time.monotonic()
        kills, give_up = faults.out_of_memory_kills(), float("inf")
        while len(answers) + len(errors) < len(ranks):
            now = time.monotonic()
            if now >= give_up:
                break
            if listener.interrupts.count or listener.cancelled():
                raise RunCancelled("the run was cancelled; its workers were stopped.")
            waiting = [rank for rank in ranks if rank not in answers and rank not in errors]
            if listener.timeout is not None and now - self._started > listener.timeout:
                raise RunTimeout(tuple(waiting), listener.timeout, self._describe(waiting))
            for rank in self._ready(waiting):
                self._hear(rank, word, listener, answers, errors, kills)
            if errors and give_up == float("inf"):
                give_up = time.monotonic() + GRACE
        if errors:
            error = faults.first_cause(list(errors.values()))
            settled = len(answers) + len(errors) == len(ranks)
            error.settled = settled and all(process.is_alive() for process in self._processes)
            raise error
        return answers

    def stop(self) -> None:
        """End all workers: those at rest by asking them, the others by SIGTERM, then SIGKILL."""
        self.send(range(len(self._pipes)), "end")
        deadline = time.monotonic() + GRACE
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """End all workers now, whatever they are doing."""
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + GRACE / 2
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join(5)
        for pipe in self._pipes:
            pipe.close()
        self._processes, self._pipes = [], []

    def _ready(self, ranks: list[int]) -> list[int]:
        """Ranks of which there is something to hear: a message, or that their process has ended."""
        handles = {self._pipes[rank]: rank for rank in ranks}
        ends = {self._processes[rank].sentinel: rank for rank in ranks}
        found = connection.wait([*handles, *ends], timeout=0.05)
        return sorted({handles[f] if isinstance(f, Connection) else ends[f] for f in found})  # type: ignore[index]

    def _hear(
        self,
        rank: int,
        word: str,
        listener: Listener,
        answers: dict[int, Any],
        errors: dict[int, RunError],
        kills: int,
    ) -> None:
        pipe = self._pipes[rank]
        try:
            # Messages that a rank sent before it died are heard before its death is believed.
            while pipe.poll():
                kind, *rest = ForkingPickler.loads(pipe.recv_bytes())
                if kind == "events":
                    self._last[rank] = f"last heard: {rest[0][-1].kind} {rest[0][-1].label} done"
                    for event in rest[0]:
                        listener.on_event(event)
                elif kind == "line":
                    listener.on_line(rank, *rest)
                elif kind == "band":
                    listener.on_band(*unpack(rest[0]))
                    self.send([rank], "taken")
                    return  # who takes bands may be slower than they come; Stop must not wait for the last
                elif kind == "failed":
                    errors[rank] = faults.failed(rank, *rest)
                    return
                elif kind == word:
                    answers[rank] = rest[0] if rest else None
                    return
            alive = self._processes[rank].is_alive()
        except (EOFError, OSError):
            self._processes[rank].join(GRACE)
            alive = False
        if not alive:
            struck = faults.out_of_memory_kills() - kills
            errors[rank] = faults.died(rank, self._processes[rank].exitcode, struck, self._last[rank])

    def _describe(self, ranks: list[int]) -> str:
        states = (f"rank {r} {faults.process_state(self.pids[r])}, {self._last[r]}" for r in ranks)
        return "; ".join(states)
