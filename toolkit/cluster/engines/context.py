"""What a function that runs on a worker may know and use of the worker."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from toolkit.cluster.engines.setup import Setup
from toolkit.distributed.comm.group import Groups
from toolkit.runs.trace import Event

REPORT_EVERY = 0.05
"""Seconds for which events are gathered before they are reported."""


class Line(Protocol):
    """A worker's line to the kernel."""

    def send(self, *message: Any) -> None:
        """Send a message to the kernel; if the kernel is gone, this process ends."""

    def receive(self) -> Any:
        """The next message from the kernel; if the kernel is gone, this process ends."""


@dataclass(slots=True)
class Context:
    """A worker, as the functions that run on it see it.

    Attributes:
        setup: The worker's set-up.
        device: The device of its tensors.
        line: Its line to the kernel.
        groups: Further process groups, kept from call to call.
        store: What its group needs kept.
        ahead: Seconds by which this machine's clock is ahead of the kernel's.
        pipelines: The pipeline that was last loaded on this worker, by where it was loaded from.
    """

    setup: Setup
    device: torch.device
    line: Line
    groups: Groups = field(default_factory=Groups)
    store: Any = None
    ahead: float = 0.0

    def here(self, moment: float) -> float:
        """A moment on the kernel's clock, on this machine's."""
        return moment + self.ahead

    pipelines: dict[str, Any] = field(default_factory=dict)


class Reports:
    """Reports finished events to the kernel for live progress: rare ones at once, frequent ones in batches.

    Args:
        line: The worker's line to the kernel.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._events: list[Event] = []
        self._sent = 0.0

    def add(self, event: Event) -> None:
        """Add an event to the next report."""
        self._events.append(event)
        if time.monotonic() - self._sent > REPORT_EVERY:
            self.flush()

    def flush(self) -> None:
        """Send the events that have not been reported yet."""
        if self._events:
            self._line.send("events", self._events)
            self._events, self._sent = [], time.monotonic()
