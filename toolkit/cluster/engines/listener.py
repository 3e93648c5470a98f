"""What the kernel does with the messages of its workers, and what makes it stop listening."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from toolkit.cluster.engines.interrupts import Interrupts
from toolkit.errors import RankDied


def print_line(rank: int, stream: str, text: str) -> None:
    """Print a line that a rank printed, with its rank."""
    print(f"[rank {rank}] {text}")


@dataclass(slots=True)
class Listener:
    """What happens to messages during one call, and what ends the call early.

    Attributes:
        on_event: Called with each traced event.
        on_line: Called with the rank, the stream's name and a line that the rank printed.
        on_band: Called with each band of a streamed output, and its start.
        on_sending: Called regularly with the bytes that are on their way to another host, while there are any.
        on_doing: Called with what is done before the ranks compute, such as starting them, and with "" once they do.
        on_loss: Called with the error of a rank whose process ended, where the others are to go on without it; None: it
            ends the call.
        timeout: Seconds from ``began`` after which the ranks are given up; None: never.
        cancelled: Asked regularly whether to give up.
        interrupts: Counts presses of Stop.
        began: When the call began, on the monotonic clock. Starting workers and sending models count too.
    """

    on_event: Callable[[Any], None] = lambda event: None
    on_line: Callable[[int, str, str], None] = print_line
    on_band: Callable[[Tensor, int], None] = lambda band, start: None
    on_sending: Callable[[int], None] = lambda left: None
    on_doing: Callable[[str], None] = lambda doing: None
    on_loss: Callable[[RankDied], None] | None = None
    timeout: float | None = None
    cancelled: Callable[[], bool] = lambda: False
    interrupts: Interrupts = field(default_factory=Interrupts)
    began: float = field(default_factory=time.monotonic)

    def within(self, seconds: float) -> Listener:
        """This listener, given up after ``seconds`` from now where it has no timeout: for what no user's work is in."""
        return self if self.timeout is not None else replace(self, timeout=time.monotonic() - self.began + seconds)

    @property
    def stopped(self) -> bool:
        """Whether the user pressed Stop or cancelled the call."""
        return self.interrupts.count > 0 or self.cancelled()

    @property
    def overdue(self) -> bool:
        """Whether the timeout is over."""
        return self.timeout is not None and time.monotonic() - self.began > self.timeout
