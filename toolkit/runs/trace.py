"""Traces: what each rank did when, on one clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, fields

import pandas as pd

KINDS = ("whole", "decode", "shard", "wait", "send", "receive", "blend", "finish", "stream", "norms", "stage", "load")
"""Kinds of events. ``whole`` is a model's own call; ``decode`` a tile, in either direction; ``norms`` a tile for its
statistics only; ``shard`` computing between two messages; ``stage`` a chunk of layers for a branch, without its waits;
``stream`` handing a finished band over; ``load`` reading a model; ``wait`` is time blocked on another rank."""


NOBODY = -1
"""The peer of an event that is no message."""


def clock() -> float:
    """Seconds on a clock that all processes of one machine share and nobody sets."""
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that one rank did.

    Attributes:
        rank: who.
        kind: one of :data:`KINDS`.
        label: of what, e.g. ``tile 7``.
        start: seconds since the run began.
        end: seconds since the run began.
        bytes: bytes made, sent or received.
        peer: the rank at the other end of a message; -1 for all else.
    """

    rank: int
    kind: str
    label: str
    start: float
    end: float
    bytes: int = 0
    peer: int = NOBODY


@dataclass(slots=True)
class Recorder:
    """Collects the events of one rank.

    Attributes:
        rank: the rank that records.
        origin: the run's begin on the clock of :func:`clock`, the same on every rank of a machine.
        listener: called with each finished event; for live progress.
        events: what was recorded.

    Example:
        >>> trace = Recorder(rank=0)
        >>> with trace("decode", "tile 0"):
        ...     pass
        >>> trace.events[0].kind
        'decode'
    """

    rank: int = 0
    origin: float = field(default_factory=clock)
    listener: Callable[[Event], None] | None = None
    events: list[Event] = field(default_factory=list)

    @contextmanager
    def __call__(self, kind: str, label: str = "", bytes: int = 0, peer: int = NOBODY) -> Iterator[None]:
        """Record what happens inside the ``with`` block as one event; not where it raises."""
        start = clock()
        yield
        self.add(Event(self.rank, kind, label, start - self.origin, clock() - self.origin, bytes, peer))

    def add(self, event: Event) -> None:
        """Record an event that was timed elsewhere."""
        self.events.append(event)
        if self.listener is not None:
            self.listener(event)


def frame(events: Iterable[Event]) -> pd.DataFrame:
    """Events as a table, by start.

    Example:
        >>> frame([Event(0, "decode", "tile 0", 0.0, 0.5, 1024)]).columns.tolist()
        ['rank', 'kind', 'label', 'start', 'end', 'bytes', 'peer']
    """
    columns = [one.name for one in fields(Event)]
    table = pd.DataFrame([astuple(event) for event in events], columns=columns)
    return table.sort_values(["start", "rank"], kind="stable", ignore_index=True)
