"""What a pool asks of an engine: whatever starts the processes of a cluster, on this machine or on others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from toolkit.cluster.engines.setup import Setup


@dataclass(frozen=True, slots=True)
class Offset:
    """How far another host's clock is ahead of this one's.

    Attributes:
        ahead: Seconds.
        within: Seconds by which ``ahead`` may be wrong.
    """

    ahead: float
    within: float


@dataclass(frozen=True, slots=True)
class Ended:
    """How the process of a rank ended.

    Attributes:
        exitcode: Its exit code, negative for the number of the signal that ended it; None where nobody can know.
        oom_kills: How often the out-of-memory killer has struck on its machine since :meth:`Engine.watch`.
        cause: What ended it, where that is not the process itself: that its host is lost.
    """

    exitcode: int | None
    oom_kills: int = 0
    cause: str = ""


class Engine(Protocol):
    """Starts processes, carries messages to and from them, tells of their end, and ends them."""

    @property
    def pids(self) -> list[int]:
        """Process ids by rank, each on its own host; shorter than the number of ranks while processes start."""

    @property
    def hosts(self) -> list[str]:
        """The host of each rank, by rank; empty where all are on this machine."""

    @property
    def clocks(self) -> dict[int, Offset]:
        """The clocks of ranks on other hosts beside this machine's, by rank; empty where all share this one's."""

    @property
    def unsent(self) -> int:
        """Bytes of messages on their way to the host that is farthest behind; 0 where messages take no time."""

    @property
    def error(self) -> BaseException | None:
        """Why a process could not be started; None if nothing went wrong."""

    def begin(self, setups: Sequence[Setup]) -> None:
        """Begin to start one process for each set-up, in the background.

        Args:
            setups: Set-ups by rank. The engine says where the ranks meet, and what is particular to their machines.
        """

    def wait(self, seconds: float) -> bool:
        """Wait for at most ``seconds``; returns whether all processes have been started, or one could not be."""

    def joined(self) -> None:
        """Take note that all ranks have joined their group."""

    def send(self, ranks: Iterable[int], message: tuple[Any, ...]) -> None:
        """Send a message to some ranks; one whose process has ended is passed over."""

    def ready(self, ranks: Sequence[int], seconds: float) -> list[int]:
        """Wait for at most ``seconds`` until there is news; returns the ranks that sent a message, or ended."""

    def take(self, rank: int) -> tuple[Any, ...] | None:
        """The next message of a rank, in the order in which they were sent; None if there is none."""

    def watch(self) -> None:
        """Count from now on what strikes processes: see :class:`Ended`."""

    def ended(self, rank: int) -> Ended | None:
        """How a rank's process ended; None while it lives."""

    def is_stopped(self, rank: int) -> bool:
        """Whether a signal has stopped a rank's process."""

    def state(self, rank: int) -> str:
        """What a rank's process is doing, in a word or two."""

    def end(self, grace: float) -> None:
        """End all processes: those that end by themselves within ``grace`` seconds, and then the others."""

    def close(self) -> None:
        """Give back everything; the next :meth:`begin` starts from nothing."""
