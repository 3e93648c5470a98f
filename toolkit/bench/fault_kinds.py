"""The faults of a campaign: what happens to a run, at a moment of it."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toolkit.bench.fault_subjects import Subject
from toolkit.cluster import Cluster
from toolkit.cluster.job import Job
from toolkit.distributed.comm.group import Member


class Broke(Exception):
    """What a campaign's own faults raise."""


def _raise() -> None:
    raise Broke("by a fault of the campaign")


def _take_memory() -> None:
    torch.ones(1 << 46)


BREAKS: dict[str, Callable[[], None]] = {
    "raise": _raise,
    "memory": _take_memory,
    "exit": lambda: os._exit(7),
    "segv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
}
"""What a rank can do to itself."""


@dataclass
class RankBreaks:
    """A fuse that breaks one rank some time after that rank first called it.

    Attributes:
        how: What it does; a key of :data:`BREAKS`.
        rank: The rank that it breaks.
        after: Seconds.
    """

    how: str
    rank: int
    after: float
    began: float | None = field(default=None, repr=False)

    def __call__(self, *args: Any) -> Any:
        """The last argument: a hook's output, or what a callback of a pipeline's step may change."""
        if Member.of(None).rank == self.rank:
            now = time.monotonic()
            self.began = self.began or now
            if now - self.began >= self.after:
                BREAKS[self.how]()
        return args[-1] if args else None


@dataclass
class Strike:
    """One fault of one run.

    Attributes:
        subject: The kind of run.
        cluster: Where it runs.
        rank: The rank that is struck.
        after: Seconds from the run's beginning.
        at: When the fault struck, on the monotonic clock; None: it has not, or nobody here knows when.
    """

    subject: Subject
    cluster: Cluster
    rank: int
    after: float
    at: float | None = None

    def run(self, fuse: RankBreaks | None = None, **how: Any) -> list[Tensor]:
        """Make the run."""
        return self.subject.result(self.subject.make(self.cluster, fuse, **how))

    @contextmanager
    def struck(self, act: Callable[[], object]) -> Iterator[None]:
        """Do something at the moment of the fault, or where the ``with`` block ends if that comes first, not at all."""

        def strike() -> None:
            self.at = time.monotonic()
            with suppress(OSError):  # the process is gone already
                act()

        timer = threading.Timer(self.after, strike)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    @property
    def pid(self) -> int:
        """The process that is struck; this one's number of none while workers start."""
        pids = self.cluster.pids
        return pids[self.rank] if pids else 1 << 30


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: What happens.
        strike: Makes a run to which it happens; returns its result.
        fits: Whether it can happen to a kind of run.
    """

    name: str
    strike: Callable[[Strike], list[Tensor]] = field(repr=False)
    fits: Callable[[Subject], bool] = field(default=lambda subject: True, repr=False)


def faults() -> list[Fault]:
    """Every kind of fault."""
    signals = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP, "terminated": signal.SIGTERM}
    return [
        *(Fault(f"rank {name}", _act(_signal(number))) for name, number in signals.items()),
        *(Fault(f"rank {name} while idle", _signal_before(number)) for name, number in signals.items()),
        Fault("rank raises", _breaks("raise")),
        Fault("rank runs out of memory", _breaks("memory")),
        Fault("rank exits", _breaks("exit")),
        Fault("rank crashes", _breaks("segv")),
        Fault("two ranks killed", _act(_kill_two)),
        Fault("fork server killed", _act(_kill_fork_server)),
        Fault("timeout", lambda strike: strike.run(timeout=max(strike.after, 0.01))),
        Fault("cancelled", _cancelled, lambda subject: subject.jobs),
        Fault("Stop, once", _act(_interrupt(1))),
        Fault("Stop, twice", _act(_interrupt(2))),
        Fault("closed by another thread", _act(lambda one: one.cluster.close())),
        Fault("stream function raises", _sink(_raise), lambda subject: subject.streams),
        Fault("stream function closes the cluster", _sink_closes, lambda subject: subject.streams),
        Fault("temporary files removed while idle", _temporary_files_removed),
    ]


def _act(act: Callable[[Strike], object]) -> Callable[[Strike], list[Tensor]]:
    """A fault that comes from this process while the run goes on."""

    def strike(one: Strike) -> list[Tensor]:
        with one.struck(lambda: act(one)):
            return one.run()

    return strike


def _signal(number: int) -> Callable[[Strike], object]:
    return lambda one: os.kill(one.pid, number)


def _signal_before(number: int) -> Callable[[Strike], list[Tensor]]:
    def strike(one: Strike) -> list[Tensor]:
        os.kill(one.pid, number)
        one.at = time.monotonic()
        return one.run()

    return strike


def _breaks(how: str) -> Callable[[Strike], list[Tensor]]:
    return lambda one: one.run(RankBreaks(how, one.rank, one.after / 2))


def _kill_two(one: Strike) -> None:
    for pid in one.cluster.pids[:2]:
        os.kill(pid, signal.SIGKILL)


def _kill_fork_server(one: Strike) -> None:
    parent = int(Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()[1])
    if parent not in (os.getpid(), 1):
        os.kill(parent, signal.SIGKILL)


def _cancelled(one: Strike) -> list[Tensor]:
    job: Job[Any] = one.subject.make(one.cluster, block=False)
    time.sleep(one.after)
    one.at = time.monotonic()
    job.cancel()
    return one.subject.result(job)


def _interrupt(presses: int) -> Callable[[Strike], None]:
    def act(one: Strike) -> None:
        for _ in range(presses):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)

    return act


def _sink(act: Callable[[], None]) -> Callable[[Strike], list[Tensor]]:
    def strike(one: Strike) -> list[Tensor]:
        one.at = time.monotonic()
        return one.run(sink=act)

    return strike


def _sink_closes(one: Strike) -> list[Tensor]:
    one.at = time.monotonic()
    return one.run(sink=one.cluster.close)


def _temporary_files_removed(one: Strike) -> list[Tensor]:
    shutil.rmtree(util.get_temp_dir(), ignore_errors=True)
    one.at = time.monotonic()
    return one.run()
