"""Messages between two ranks, without tags or metadata.

Every rank derives shapes and order from the plan, so only the bytes of the tensors travel. Messages between two ranks
match in the order in which they were started: the first send meets the first receive, and so on.

    rank 0   send(a, to=1)   send(b, to=1)   compute ...       take()      a sent tensor is kept until it has left
    rank 1   receive()       compute ...     receive()         take()      a buffer exists from receive() to take()

Three threads work for an exchange. The main thread starts all transfers; one helper thread waits for the sends and one
for the receives, so the main thread can compute meanwhile, and can notice the failure of another rank while it waits.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributed import Work

from toolkit.distributed.comm.failure import PATIENCE, FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.runs.trace import Kind, Label, Recorder

_GLANCE = 0.2
"""Seconds between two looks at the failure flag while a rank waits."""


@dataclass(slots=True, eq=False)
class Message:
    """A tensor under way.

    Attributes:
        label: What the message is, for the trace.
        peer: The rank at the other end.
        work: The transfer.
        buffer: The memory that the transfer reads or fills; kept alive until the transfer is done.
        done: Set when the transfer has ended, successfully or not.
        error: The exception that the transfer raised, if it did.
    """

    label: Label
    peer: int
    work: Work
    buffer: Tensor
    done: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None

    def settle(self) -> None:
        """Wait for the transfer; called on a helper thread."""
        try:
            self.work.wait()
            if self.buffer.device.type != "cpu":
                # On an accelerator wait() only orders streams, but `done` promises that the bytes have arrived.
                torch.accelerator.current_stream(self.buffer.device).synchronize()
        except BaseException as error:
            # Raised again on the main thread, by whoever waits for the message.
            self.error = error
        self.done.set()


class Exchange:
    """The messages of one rank during one call.

    Args:
        member: This rank.
        failure: The flag by which ranks report failures.
        trace: Records sends and waits.
        device: The device that received tensors are moved to.
    """

    def __init__(self, member: Member, failure: FailureFlag, *, trace: Recorder, device: torch.device) -> None:
        self.member = member
        self.failure = failure
        self.trace = trace
        self.device = device
        self._where = torch.device("cpu") if member.through_host(device) else device
        self._sent: list[Message] = []
        # One helper per direction. With a single one, a send that cannot leave until its receiver is ready would keep
        # a receive that has arrived from being noticed, and two ranks could wait for each other.
        self._leaving, self._coming = _Waiter(), _Waiter()

    def send(self, tensor: Tensor, to: int, label: Label) -> None:
        """Start to send a tensor. It may be sent from its own memory, so do not write to it before :meth:`flush`."""
        buffer = tensor.to(self._where).contiguous()
        with self.trace(Kind.SEND, label, bytes=buffer.nbytes, peer=to):
            message = Message(label, to, self.member.send(buffer, to), buffer)
            self._leaving.add(message)
        # Let go of what has left meanwhile: its memory is free from here on.
        self._sent = [m for m in self._sent if not m.done.is_set()] + [message]

    def receive(self, shape: tuple[int, ...], dtype: torch.dtype, source: int, label: Label) -> Message:
        """Post a receive and return at once."""
        buffer = torch.empty(shape, dtype=dtype, device=self._where)
        message = Message(label, source, self.member.receive(buffer, source), buffer)
        self._coming.add(message)
        return message

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
        """
        if not message.done.is_set():
            with self.trace(Kind.WAIT, message.label, peer=message.peer):
                self._await(message)
        self._check(message)

    def flush(self) -> None:
        """Wait until everything sent has left."""
        waiting = [message for message in self._sent if not message.done.is_set()]
        if waiting:
            with self.trace(Kind.WAIT, Label(text="sends")):
                for message in waiting:
                    self._await(message)
        self._sent = []

    def close(self) -> None:
        """End the helper threads, usually at once: they end when what they wait for has ended."""
        for waiter in (self._leaving, self._coming):
            waiter.add(None)
        for waiter in (self._leaving, self._coming):
            # A process that exits while a thread is inside gloo may be aborted, so give the threads a moment. A thread
            # that waits for a rank that failed would never end; it is a daemon and is left behind.
            waiter.join(timeout=_GLANCE)

    def _await(self, message: Message) -> None:
        while not message.done.wait(timeout=_GLANCE):
            self.failure.check()
        self._check(message)

    def _check(self, message: Message) -> None:
        if message.error is not None:
            # Connections to a rank that failed break. Its own reason says more than our "connection closed".
            self.failure.check(patience=PATIENCE)
            raise message.error


class _Waiter(threading.Thread):
    """Waits for transfers in the order in which they were posted.

    gloo's point-to-point transfers cannot be polled, so something has to block on them. The thread is a daemon: a
    transfer that never ends must not keep the process alive.
    """

    def __init__(self) -> None:
        super().__init__(name="toolkit-transfers", daemon=True)
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.start()

    def add(self, message: Message | None) -> None:
        self._messages.put(message)

    def run(self) -> None:
        while (message := self._messages.get()) is not None:
            message.settle()
            # Otherwise this variable would keep the buffer alive until the next message comes.
            del message
