"""What each rank of a call posts and waits for, as programs for the model of NCCL. Runs in real workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from unittest import mock

import torch

from toolkit.distributed.comm import exchange
from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.distributed.comm.message import Message
from toolkit.distributed.comm.queue_check import Posted, Transfer, Waited
from toolkit.distributed.comm.transport import Transport, transport_for


class RecordedTransport:
    """A transport that writes down what is posted, in order, and leaves the work to another."""

    def __init__(self, below: Transport, member: Member, program: list[Posted | Waited], groups: Iterator[int]) -> None:
        self.below, self.where, self._program, self._groups = below, below.where, program, groups
        self._queue = "default" if member.group is None else member.group.group_name
        self._numbers: dict[Message, int] = {}

    def post(self, messages: Sequence[Message]) -> None:
        transfers = [Transfer(m.sends, m.peer, m.buffer.nbytes, str(m.label)) for m in messages]
        self._program.append(Posted(tuple(transfers), self._queue))
        self._numbers |= dict.fromkeys(messages, next(self._groups))
        self.below.post(messages)

    def arrived(self, message: Message) -> bool:
        return self.below.arrived(message)

    def wait(self, message: Message) -> None:
        self._program.append(Waited((self._numbers[message],)))
        self.below.wait(message)

    def release(self) -> None:
        self.below.release()

    def leaving(self) -> list[Message]:
        # Everything: what has left already depends on the network's mood.
        return [message for message in self._numbers if message.sends]

    def drain(self) -> None:
        self._program.append(Waited(tuple(sorted({self._numbers[message] for message in self.leaving()}))))
        self.below.drain()

    def close(self) -> None:
        self.below.close()


def recorded(work: Callable[[], object]) -> list[Posted | Waited]:
    """What this rank posts and waits for while ``work`` runs."""
    program: list[Posted | Waited] = []
    groups = count()  # over all exchanges: a program numbers its groups through

    def made(member: Member, device: torch.device, failure: FailureFlag) -> RecordedTransport:
        return RecordedTransport(transport_for(member, device, failure), member, program, groups)

    with mock.patch.object(exchange, "transport_for", made):
        work()
    return program
