"""The events of a run: what each rank did when, on one clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

NONE = -1
"""The value of a number that does not apply to an event, such as the tile of a message between stages."""


class Kind(StrEnum):
    """What a rank was doing.

    The values are what the column ``kind`` of ``Run.trace`` holds.
    """

    WHOLE = "whole"
    """The model's own call on the whole input."""
    DECODE = "decode"
    """Computing a tile, in either direction."""
    NORMS = "norms"
    """Computing a tile for the statistics of its norms only."""
    SHARD = "shard"
    """Computing on a shard between two messages."""
    STAGE = "stage"
    """Computing a chunk of layers for one branch, without the waits in between."""
    BLEND = "blend"
    """Blending overlaps."""
    FINISH = "finish"
    """What the model does once, after its tiles are merged."""
    STREAM = "stream"
    """Handing over a finished band of the output."""
    LOAD = "load"
    """Reading a model from disk."""
    SEND = "send"
    """Handing a message to the transport."""
    RECEIVE = "receive"
    """Taking a message that has arrived."""
    WAIT = "wait"
    """Blocked until another rank sends or receives."""


COMPUTING = (Kind.WHOLE, Kind.DECODE, Kind.NORMS, Kind.SHARD, Kind.STAGE, Kind.BLEND, Kind.FINISH)
"""The kinds of event during which a rank computes."""


def clock() -> float:
    """Seconds on a clock that all processes of one machine share and that nobody sets."""
    return time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What an event is about, as fields; ``str(label)`` is the text that figures show.

    Attributes:
        text: Words for what no other field says; shown after the other fields.
        tile: The index of the tile in its grid.
        chunk: The stage of the transformer, counted over all ranks; -1 for the result of the last stage.
        branch: The guidance branch, counted over the requests.
        step: The denoising step.
        expert: The transformer's name, where a pipeline has several.
        purpose: What a message is for: ``halo h``, ``keys and values``, ``statistics``, ``edge``, ``share``.
        module: The name of the model's module during whose call the event happened.

    Example:
        >>> print(Label(tile=7), Label(chunk=2, branch=0, step=3), Label(purpose="halo h", module="conv_in"), sep=", ")
        tile 7, 2F0 step 3, halo h of conv_in
    """

    text: str = ""
    tile: int = NONE
    chunk: int = NONE
    branch: int = NONE
    step: int = NONE
    expert: str = ""
    purpose: str = ""
    module: str = ""

    def __str__(self) -> str:
        words = []
        if self.branch != NONE:
            chunk = "" if self.chunk == NONE else self.chunk
            words.append(f"{chunk}F{self.branch} step {self.step}{self.expert and f' {self.expert}'}")
        elif self.tile != NONE:
            words.append(f"{self.purpose or 'tile'} {self.tile}")
        elif self.purpose:
            words.append(f"{self.purpose}{self.module and f' of {self.module}'}")
        return ", ".join([*words, self.text] if self.text else words)


NO_LABEL = Label()


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that one rank did.

    Attributes:
        rank: The rank that did it.
        kind: What it was doing.
        label: What the event is about.
        start: Seconds since the run began.
        end: Seconds since the run began.
        bytes: Bytes made, sent or received.
        peer: The rank at the other end of a message; -1 for anything else.
    """

    rank: int
    kind: Kind
    label: Label
    start: float
    end: float
    bytes: int = 0
    peer: int = NONE


@dataclass(slots=True)
class Recorder:
    """Collects the events of one rank.

    Attributes:
        rank: The rank that records.
        origin: When the run began, on the clock of :func:`clock`; the same on every rank of a machine.
        listener: Called with each finished event, for live progress.
        events: What was recorded.
        clock: What times are read from. A rehearsal has a clock of its own.
        notes: What the record of the run should say, by name.

    Example:
        >>> trace = Recorder(rank=0)
        >>> with trace(Kind.DECODE, Label(tile=0)):
        ...     pass
        >>> trace.events[0].kind, trace.events[0].label.tile
        (<Kind.DECODE: 'decode'>, 0)
    """

    rank: int = 0
    origin: float = field(default_factory=clock)
    listener: Callable[[Event], None] | None = None
    events: list[Event] = field(default_factory=list)
    clock: Callable[[], float] = clock
    notes: dict[str, object] = field(default_factory=dict)

    def now(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self.origin

    @contextmanager
    def __call__(self, kind: Kind, label: Label = NO_LABEL, *, bytes: int = 0, peer: int = NONE) -> Iterator[None]:
        """Record what happens inside the ``with`` block as one event, unless it raises."""
        start = self.now()
        yield
        self.add(Event(self.rank, kind, label, start, self.now(), bytes, peer))

    def add(self, event: Event) -> None:
        """Record an event that was timed elsewhere."""
        self.events.append(event)
        if self.listener is not None:
            self.listener(event)
