"""A model of NCCL: would the transfers that the ranks post ever end?

gloo hides mistakes in the order of transfers, because it buffers what is sent and takes every transfer for itself. NCCL
does neither. This is what it promises, and what :func:`check_queues` executes:

    * All transfers of one *group* start together, and the group ends when all of them have ended.
    * A rank has one queue for each communicator. A group starts when everything before it in the queue has ended.
    * A transfer ends when its partner on the other rank has started too; or, if it is a send, when it fits a buffer.

Two ranks that both send and then receive, each in a group of its own, wait for each other; in one group they do not:

    rank 0    send to 1     receive from 1        rank 0    {send to 1, receive from 1}
    rank 1    send to 0     receive from 0        rank 1    {send to 0, receive from 0}
              both wait for ever                            both end

In the model a rank that waits stops until the transfers have ended. On an accelerator the host would go on, but what it
posts next usually needs what it waits for, so a program that passes here does not hang there either.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from toolkit.errors import ToolkitError


@dataclass(frozen=True, slots=True)
class Transfer:
    """One half of a message, as one rank posts it.

    Attributes:
        sends: Whether this rank sends; if not, it receives.
        peer: The rank at the other end.
        bytes: Size of the message.
        label: What the message is.
    """

    sends: bool
    peer: int
    bytes: int
    label: str = ""

    def __str__(self) -> str:
        way = "send to" if self.sends else "receive from"
        return f"{way} rank {self.peer} ({self.label}, {self.bytes} bytes)"


@dataclass(frozen=True, slots=True)
class Posted:
    """A rank posts transfers as one group.

    Attributes:
        transfers: The transfers.
        communicator: Whose queue they go to.
    """

    transfers: tuple[Transfer, ...]
    communicator: str = ""


@dataclass(frozen=True, slots=True)
class Waited:
    """A rank waits for groups.

    Attributes:
        groups: Their numbers, counted over all that this rank has posted.
    """

    groups: tuple[int, ...]


Program = Sequence[Posted | Waited]
"""What one rank does, in order."""


@dataclass(slots=True, eq=False)
class _Group:
    """A group under way; ``waiting`` holds the places of the transfers that have not ended."""

    posted: Posted
    waiting: set[int] = field(default_factory=set)


class Stuck(ToolkitError):
    """Transfers that wait for each other for ever."""


def check_queues(programs: Sequence[Program], buffer: int = 0) -> None:
    """Execute what the ranks post under NCCL's rules.

    Args:
        programs: What each rank does.
        buffer: Bytes of a send that NCCL takes over before its receiver is there. Its real size depends on the link and
            is nothing to rely on; 0 finds every mistake.

    Raises:
        Stuck: If a transfer never ends, if the two ends of a message differ in size, or if a message has one end only.

    Example:
        >>> swap = (Transfer(True, 1, 8, "halo"), Transfer(False, 1, 8, "halo"))
        >>> back = (Transfer(True, 0, 8, "halo"), Transfer(False, 0, 8, "halo"))
        >>> check_queues([[Posted(swap), Waited((0,))], [Posted(back), Waited((0,))]])
        >>> check_queues([[Posted((one,)) for one in swap], [Posted((one,)) for one in back]])
        Traceback (most recent call last):
        ...
        toolkit.distributed.comm.queue_check.Stuck: these transfers wait for each other for ever:
        rank 0: send to rank 1 (halo, 8 bytes)
        rank 1: send to rank 0 (halo, 8 bytes)
        Post what two ranks exchange at one point of the program as one group.
    """
    state = _State(programs, buffer)
    while state.advance():
        pass
    state.check_over()


class _State:
    """How far each rank and each queue has come."""

    def __init__(self, programs: Sequence[Program], buffer: int) -> None:
        self.programs = programs
        self.buffer = buffer
        self.at = [0] * len(programs)
        self.groups: list[list[_Group]] = [[] for _ in programs]
        self.queues: dict[tuple[int, str], deque[_Group]] = defaultdict(deque)
        # The ends of messages that have been posted and whose other end has not: by communicator, sender and receiver.
        self.open: dict[tuple[str, int, int], dict[bool, deque[tuple[int, _Group, int]]]] = defaultdict(
            lambda: {True: deque(), False: deque()}
        )
        self.partners: dict[tuple[int, int], tuple[_Group, int]] = {}

    def advance(self) -> bool:
        """Let every rank and every queue go on as far as it can now; return whether anything has moved."""
        moved = False
        for rank, program in enumerate(self.programs):
            while self.at[rank] < len(program) and self._step(rank, program[self.at[rank]]):
                self.at[rank] += 1
                moved = True
        for queue in self.queues.values():
            if queue:
                moved |= self._transfer(queue[0])
        for queue in self.queues.values():
            while queue and not queue[0].waiting:
                queue.popleft()
                moved = True
        return moved

    def _step(self, rank: int, step: Posted | Waited) -> bool:
        """Take one step of a rank's program; return whether it can be taken now."""
        if isinstance(step, Waited):
            return not any(self.groups[rank][number].waiting for number in step.groups)
        group = _Group(step, set(range(len(step.transfers))))
        self.groups[rank].append(group)
        self.queues[rank, step.communicator].append(group)
        for place, transfer in enumerate(step.transfers):
            self._meet(rank, group, place, transfer)
        return True

    def _meet(self, rank: int, group: _Group, place: int, transfer: Transfer) -> None:
        """Find the partner of a transfer: the first send between two ranks meets the first receive, and so on."""
        pair = (rank, transfer.peer) if transfer.sends else (transfer.peer, rank)
        ends = self.open[group.posted.communicator, *pair]
        if not ends[not transfer.sends]:
            ends[transfer.sends].append((rank, group, place))
            return
        other_rank, other, at = ends[not transfer.sends].popleft()
        partner = other.posted.transfers[at]
        if partner.bytes != transfer.bytes:
            raise Stuck(f"rank {rank}: {transfer} meets rank {other_rank}: {partner}: both ends need the same size.")
        self.partners[id(group), place] = (other, at)
        self.partners[id(other), at] = (group, place)

    def _transfer(self, group: _Group) -> bool:
        """End those transfers of a group at the head of its queue that can end; return whether there were any."""
        heads = {id(queue[0]) for queue in self.queues.values() if queue}
        ended = False
        for place in sorted(group.waiting):
            transfer = group.posted.transfers[place]
            partner = self.partners.get((id(group), place))
            buffered = partner is not None and not transfer.sends and partner[1] not in partner[0].waiting
            if partner is not None and (buffered or id(partner[0]) in heads):
                # Both ends are at the head of their queues, or the bytes lie in the buffer already.
                group.waiting.discard(place)
                partner[0].waiting.discard(partner[1])
                ended = True
            elif transfer.sends and transfer.bytes <= self.buffer:
                group.waiting.discard(place)
                ended = True
        return ended

    def check_over(self) -> None:
        """Refuse what is left when nothing moves any more."""
        left = [
            f"rank {rank}: {queue[0].posted.transfers[min(queue[0].waiting)]}"
            for (rank, _), queue in sorted(self.queues.items())
            if queue
        ]
        if left:
            raise Stuck(
                "these transfers wait for each other for ever:\n" + "\n".join(left) + "\n"
                "Post what two ranks exchange at one point of the program as one group."
            )
