"""A script: all that one rank does during a call, in order, without when.

A rank's steps are operators, messages and collectives. Between them is what is allocated. The script of a rank of two
that exchange a halo and convolve, one line per step:

    step   what                              allocated after it
    0      aten.clone (the halo)             1 MB
    1      post {send 1 MB, receive 1 MB}    2 MB
    2      aten.convolution                  40 MB      and 65 MB meanwhile, says a profile
    3      wait for message 0                40 MB
    ...

How long a step takes is not in it: a profile tells that of operators, and the links between ranks that of messages and
collectives. So a script is written once, and played with any profile over any links.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from toolkit.planning.rehearsing.operator_call import OperatorCall
from toolkit.runs.trace import Event


class Crossing(NamedTuple):
    """One half of a message, as one rank posts it.

    Attributes:
        sends: Whether this rank sends; if not, it receives.
        peer: The rank at the other end.
        bytes: Its size.
    """

    sends: bool
    peer: int
    bytes: int


class End(NamedTuple):
    """One half of a message, identified by its place among those with the same peer.

    Attributes:
        peer: The rank at the other end.
        sends: Whether this rank sends.
        place: How many this rank has posted before with that peer in that direction, in the same group of ranks.
        group: The purpose of that group; see :class:`toolkit.distributed.comm.group.Groups`.
    """

    peer: int
    sends: bool
    place: int
    group: str = ""


class Post(NamedTuple):
    """A step that starts messages, all at once.

    Attributes:
        crossings: The messages.
        purpose: What they are for, as in the trace.
        group: The purpose of the group of ranks that they are sent in. Only messages of one group keep their order.
    """

    crossings: tuple[Crossing, ...]
    purpose: str = ""
    group: str = ""


class Await(NamedTuple):
    """A step that waits for a message.

    Attributes:
        message: Its number, counted over all that this rank has posted.
    """

    message: int


class Collective(NamedTuple):
    """A step that all ranks of a line take together, and that ends for all of them at the same time.

    Attributes:
        line: The ranks.
        operation: ``all_reduce``, ``all_gather`` or ``all_to_all``.
        bytes: Bytes of the tensor that this rank adds up, receives from all ranks, or divides among them.
    """

    line: tuple[int, ...]
    operation: str
    bytes: int


class Compute(NamedTuple):
    """A step that calls an operator.

    Attributes:
        key: The operator and its shapes, as text: the key of ``Script.operators``.
        live: Bytes that are allocated when it begins.
        made: Bytes that it allocates for what it returns.
        calls: Number of operators that the host has called since the step before, this one and views included.
    """

    key: str
    live: int
    made: int
    calls: int


Step = Compute | Post | Await | Collective


class Section(NamedTuple):
    """Steps that a rank goes through again and again, such as those of a tile of one size: written once, as one step.

    Attributes:
        steps: The operators. ``live`` counts from what is allocated when the section begins.
        most: The most bytes of tensors that are allocated during the section above those before it.
        operators: The operators that its steps call, by key.
    """

    steps: tuple[Compute, ...]
    most: int
    operators: dict[str, OperatorCall]


class Kept(NamedTuple):
    """A tensor that is kept only because it is being sent.

    Attributes:
        message: The number of the message.
        dropped: The step after which the script drops it.
        bytes: Its size.
    """

    message: int
    dropped: int
    bytes: int


class Names(Protocol):
    """Whom the messages of a rank go to, if its script was written for another rank that is alike."""

    def post(self, step: Post) -> Post:
        """A step that starts messages, with this rank's own peers."""

    def events(self, script: Script) -> list[Event]:
        """What this rank records."""


@dataclass(slots=True)
class Script:
    """All that one rank does during a call.

    Attributes:
        rank: The rank.
        steps: What it does, in order.
        operators: The operators that its steps call, by key.
        sections: The sections among its steps, by key.
        allocated: Bytes allocated after a step, wherever that changes: the number of steps done, and the bytes.
        kept: Tensors that a run keeps until they have left. The script drops them at the next post, because how long
            they stay is a question of time.
        events: What the rank records. Their times are numbers of steps done.
        result: The shape of the output; empty on ranks that return none.
        names: Whom its messages go to; None: as the steps and events say.
        around: What the host does around operators, by the name of a field of
            :class:`~toolkit.planning.rehearsing.profile.HostCost`.
    """

    rank: int
    steps: list[Step] = field(default_factory=list)
    operators: dict[str, OperatorCall] = field(default_factory=dict)
    sections: dict[str, Section] = field(default_factory=dict)
    allocated: list[tuple[int, int]] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    result: tuple[int, ...] = ()
    names: Names | None = None
    around: str = "call"

    def named(self, step: Post) -> Post:
        """A step that starts messages, with this rank's own peers."""
        return step if self.names is None else self.names.post(step)

    def posts(self) -> Iterator[Post]:
        """The steps that start messages, with this rank's own peers."""
        return (self.named(step) for step in self.steps if isinstance(step, Post))

    def recorded(self) -> list[Event]:
        """What this rank records, with its own peers."""
        return self.events if self.names is None else self.names.events(self)

    def ends(self) -> list[End]:
        """This rank's end of each message, by number."""
        places: dict[tuple[int, bool, str], int] = defaultdict(int)
        found = []
        for post in self.posts():
            for one in post.crossings:
                pair = one.peer, one.sends, post.group
                found.append(End(one.peer, one.sends, places[pair], post.group))
                places[pair] += 1
        return found


def operators_of(scripts: Sequence[Script]) -> dict[str, OperatorCall]:
    """All operators that the scripts call, by key."""
    found: dict[str, OperatorCall] = {}
    for script in scripts:
        found |= script.operators
        for section in script.sections.values():
            found |= section.operators
    return found
