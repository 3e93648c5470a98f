"""The local engine: processes of this machine, with one channel to each."""

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
from toolkit.cluster.engines.engine_protocol import Ended, Offset
from toolkit.cluster.engines.local.channel import Channel
from toolkit.cluster.engines.local.launch import Launch, Start, environment
from toolkit.cluster.engines.local.private_folder import private_folder
from toolkit.cluster.engines.packed import Packed
from toolkit.cluster.engines.setup import Setup
from toolkit.distributed.comm.meeting import Meeting

LAST_WORDS = 1.0
"""Seconds that a process that has closed its end of the channel is given to end."""

TERMINATED = 0.5
"""Seconds that all processes together are given between SIGTERM and SIGKILL."""


class LocalEngine:
    """Starts processes on this machine, as spawned processes or as forks of a server.

    Args:
        start: How processes are started.
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        self._folder = private_folder(self)
        self._launch: Launch | None = None
        self._processes: list[BaseProcess] = []
        self._channels: list[Channel] = []
        self._kills = 0
        self.error: BaseException | None = None

    @property
    def pids(self) -> list[int]:
        """Process ids by rank; those that have been started, while processes start."""
        processes = self._processes if self._launch is None else self._launch.processes
        return [process.pid or 0 for process in processes]

    @property
    def hosts(self) -> list[str]:
        """Nothing: all ranks are on this machine."""
        return []

    @property
    def clocks(self) -> dict[int, Offset]:
        """Nothing: all ranks share this machine's clock."""
        return {}

    @property
    def unsent(self) -> int:
        """Nothing: tensors lie in shared memory."""
        return 0

    def begin(self, setups: Sequence[Setup]) -> None:
        """Begin to start one process for each set-up, in the background."""
        if not self._folder.exists():
            # Somebody has cleaned up the folder of temporary files.
            self._folder = private_folder(self)
        meeting = Meeting(str(self._folder / "meeting"))
        self.error = None
        self._launch = Launch(
            [replace(one, meeting=one.meeting or meeting, environment=environment()) for one in setups], self._start
        )

    def wait(self, seconds: float) -> bool:
        """Wait for at most ``seconds``; returns whether all processes have been started, or one could not be."""
        if self._launch is None:
            return True
        if not self._launch.wait(seconds):
            return False
        launch, self._launch = self._launch, None
        self._processes, self._channels, self.error = launch.processes, launch.channels, launch.error
        return True

    def joined(self) -> None:
        """Tell the processes of each other: if this process is killed, those that live end those that are stopped."""
        self.send(range(len(self._channels)), ("siblings", self.pids))

    def send(self, ranks: Iterable[int], message: tuple[Any, ...]) -> None:
        """Send a message to some ranks; one whose process has ended is passed over."""
        for rank in ranks:
            with suppress(OSError):
                self._channels[rank].send(message)

    def pass_on(self, rank: int, packed: Packed) -> None:
        """Send a message that is packed already."""
        with suppress(OSError):
            self._channels[rank].pass_on(packed)

    def ready(self, ranks: Sequence[int], seconds: float) -> list[int]:
        """Wait for at most ``seconds`` until there is news; returns the ranks that sent a message, or ended."""
        if unread := [rank for rank in ranks if self._channels[rank].complete]:
            return unread
        handles: dict[Any, int] = {self._channels[rank]: rank for rank in ranks}
        ends: dict[Any, int] = {self._processes[rank].sentinel: rank for rank in ranks}
        found = connection.wait([*handles, *ends], timeout=seconds)
        return sorted({(handles | ends)[one] for one in found})

    def handles(self, ranks: Iterable[int]) -> list[Any]:
        """What to wait for, to know that some rank has sent a message, or ended."""
        return [one for rank in ranks for one in (self._channels[rank], self._processes[rank].sentinel)]

    def take(self, rank: int) -> tuple[Any, ...] | None:
        """The next message of a rank; None if there is none. A rank that has closed its end is given time to end."""
        packed = self.take_packed(rank)
        return None if packed is None else packed.load()

    def take_packed(self, rank: int) -> Packed | None:
        """As :meth:`take`, without unpickling the message."""
        channel = self._channels[rank]
        try:
            if not channel.complete:
                channel.fill()
        except (EOFError, OSError):
            self._processes[rank].join(LAST_WORDS)
        return channel.take_packed() if channel.complete else None

    def watch(self) -> None:
        """Count from now on how often the out-of-memory killer strikes."""
        self._kills = faults.out_of_memory_kills()

    def ended(self, rank: int) -> Ended | None:
        """How a rank's process ended; None while it lives."""
        process = self._processes[rank]
        return None if process.is_alive() else Ended(process.exitcode, faults.out_of_memory_kills() - self._kills)

    def is_stopped(self, rank: int) -> bool:
        """Whether a signal has stopped a rank's process."""
        return faults.is_stopped(self.pids[rank])

    def state(self, rank: int) -> str:
        """What a rank's process is doing, in a word or two, as the system sees it."""
        return faults.process_state(self.pids[rank])

    def end(self, grace: float) -> None:
        """End all processes, and what they have started: after ``grace`` seconds by SIGTERM, then SIGKILL."""
        if self._launch is not None:
            self._launch.abandon()
            self._launch = None
        _join(self._processes, grace)
        for process in self._processes:
            process.terminate()
        _join(self._processes, TERMINATED)
        for process in self._processes:
            with suppress(OSError):
                # A worker leads a group of its own, of which processes that it started are members, too.
                os.killpg(process.pid or 0, signal.SIGKILL)
            process.kill()
            process.join(5)
        for channel in self._channels:
            channel.close()
        self._processes, self._channels = [], []

    def close(self) -> None:
        """Nothing to give back: this machine needs no line to itself."""


def _join(processes: Sequence[BaseProcess], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
