"""Messages between ranks, without tags or metadata.

Every rank derives shapes and order from the plan, so only the bytes of the tensors travel. Messages between two ranks
match in the order in which they were posted: the first send meets the first receive, and so on.

    rank 0   send(a, to=1)   send(b, to=1)   compute ...       take()      a sent tensor is kept until it has left
    rank 1   receive()       compute ...     receive()         take()      a buffer exists from receive() to take()

What ranks exchange at one point of the program is posted as one group: :meth:`Exchange.swap`. Two ranks that each send
first and then receive would wait for each other for ever on backends that buffer nothing, such as NCCL: see
queue_check.py, which also says when single messages are safe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

import torch
from torch import Tensor

from toolkit.distributed.comm.failure import PATIENCE, FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.distributed.comm.message import Incoming, Message, Outgoing
from toolkit.distributed.comm.transport import Transport, transport_for
from toolkit.errors import RankDied, RankFailed, RunError, RunTimeout
from toolkit.runs.trace import Kind, Label, Recorder

BROKEN = (
    "Connection closed",
    "Connection reset",
    "Broken pipe",
    "Connection timed out",
    "No route to host",
    "Network is unreachable",
)
"""What backends say where the other end of a connection is gone, or the link to it."""

LATE = "Timed out waiting"
"""What gloo says where a transfer has not ended within the group's limit."""


class Exchange:
    """The messages of one rank during one call.

    Args:
        member: This rank.
        failure: The flag by which ranks report failures.
        trace: Records sends and waits.
        device: The device that received tensors are moved to.
        transport: What moves the bytes; None: what suits the group and the device.
    """

    def __init__(
        self,
        member: Member,
        failure: FailureFlag,
        *,
        trace: Recorder,
        device: torch.device,
        transport: Transport | None = None,
    ) -> None:
        self.member = member
        self.failure = failure
        self.trace = trace
        self.device = device
        self.transport = transport or transport_for(member, device, failure)

    def swap(self, label: Label, sends: Sequence[Outgoing] = (), receives: Sequence[Incoming] = ()) -> list[Message]:
        """Post all that this rank sends and receives at one point of the program, as one group; return at once.

        Args:
            label: What the messages are, for the trace.
            sends: The tensors to send. They may be sent from their own memory, so do not write to them before
                :meth:`flush`.
            receives: The tensors to receive.

        Returns:
            The messages to receive, in order.
        """
        if not sends and not receives:
            return []
        where = self.transport.where
        incoming = [
            Message(label, one.source, sends=False, buffer=torch.empty(one.shape, dtype=one.dtype, device=where))
            for one in receives
        ]
        outgoing: list[Message] = []
        for place, one in enumerate(sends, start=1):
            with self.trace(Kind.SEND, label, bytes=one.tensor.nbytes, peer=one.to):
                buffer = one.tensor.to(where).contiguous()
                outgoing.append(Message(label, one.to, sends=True, buffer=buffer))
                # The group starts with its last send, whose event has the time that this takes.
                if place == len(sends):
                    self.transport.post([*outgoing, *incoming])
        if not sends:
            self.transport.post(incoming)
        # Let go of what has left meanwhile: its memory is free from here on.
        self.transport.release()
        return incoming

    def send(self, tensor: Tensor, to: int, label: Label) -> None:
        """Send one tensor, as a group of its own."""
        self.swap(label, [Outgoing(tensor, to)])

    def receive(self, shape: tuple[int, ...], dtype: torch.dtype, source: int, label: Label) -> Message:
        """Post one receive, as a group of its own, and return at once."""
        return self.swap(label, receives=[Incoming(shape, dtype, source)])[0]

    def arrived(self, message: Message) -> bool:
        """Whether a message is there, without waiting for it."""
        return self.transport.arrived(message)

    def take(self, message: Message) -> Tensor:
        """Return the tensor of a receive, on this rank's device; wait if it has not arrived.

        Raises:
            RankFailed: If another rank fails meanwhile.
        """
        self.wait(message)
        with self.trace(Kind.RECEIVE, message.label, bytes=message.buffer.nbytes, peer=message.peer):
            return message.buffer.to(self.device)

    def wait(self, message: Message) -> None:
        """Wait until a message has arrived.

        Raises:
            RankFailed: If another rank fails meanwhile.
            RankDied: If the other rank is gone and has left no reason.
            RunTimeout: If the message has not arrived within the group's limit.
        """
        if self.transport.arrived(message):
            self._settle(message)
            return
        with self.trace(Kind.WAIT, message.label, peer=message.peer):
            self._settle(message)

    def flush(self) -> None:
        """Wait until everything sent has left."""
        if leaving := self.transport.leaving():
            with self.trace(Kind.WAIT, Label(text="sends")):
                try:
                    self._explained(self.transport.drain)
                except RuntimeError as error:
                    broken = next((message for message in leaving if message.error is not None), leaving[0])
                    self._raise_in_words(error, broken.peer)

    def close(self) -> None:
        """End the helper threads."""
        self.transport.close()

    def _settle(self, message: Message) -> None:
        try:
            self._explained(lambda: self.transport.wait(message))
        except RuntimeError as error:
            self._raise_in_words(error, message.peer)

    def _explained(self, wait: Callable[[], None]) -> None:
        try:
            wait()
        except RankFailed:
            raise
        except Exception:
            # Connections to a rank that failed break. Its own reason says more than our "connection closed".
            self.failure.check(patience=PATIENCE)
            raise

    def _raise_in_words(self, error: RuntimeError, peer: int) -> NoReturn:
        """Raise what an error of the backend means; any other error as it is."""
        if isinstance(error, RunError):
            raise error  # in words already, which may quote what a backend said
        if LATE in str(error):
            raise RunTimeout(
                f"rank {self.member.rank} has waited for rank {peer} as long as an operation of the group may take: "
                "see what that rank does, or give the group a longer timeout.",
                (peer,),
            ) from error
        if any(words in str(error) for words in BROKEN):
            # It was killed: who raises leaves a reason.
            cause = "its connection broke and it left no reason, so it was killed, or its machine or the link to it is"
            raise RankDied(peer, None, f"{cause} gone: {error}") from error
        raise error
