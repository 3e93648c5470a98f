"""Messages between ranks: point to point, exact shapes, one order that every rank follows.

Shapes and order follow from the plan, so nothing but the tensors' bytes is sent. A receive is posted only when its
buffer is wanted, a sent tensor is kept until it has left, and every wait watches for the failure of another rank.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributed import Work

from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.runs.trace import Kind, Label, Recorder


@dataclass(slots=True, eq=False)
class Message:
    """A tensor under way.

    Attributes:
        label: what it is, for the trace.
        peer: the rank at the other end.
        work: the transfer.
        buffer: the memory that it reads or fills; kept alive until the transfer is done.
        done: set when the transfer has ended, in either way.
        error: what the transfer raised, if it did.
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
                # On a device, wait() only orders streams; "done" has to mean that the bytes are there.
                torch.accelerator.current_stream(self.buffer.device).synchronize()
        except BaseException as error:
            self.error = error
        self.done.set()


class Exchange:
    """The messages of one rank during one call.

    Args:
        member: this rank.
        failure: how the ranks tell each other of failures.
        trace: where sends and waits are recorded.
        device: where tensors are wanted.
    """

    def __init__(self, member: Member, failure: FailureFlag, trace: Recorder, device: torch.device) -> None:
        self.member = member
        self.failure = failure
        self.trace = trace
        self.device = device
        self._where = torch.device("cpu") if member.staged(device) else device
        self._sent: list[Message] = []
        # One for each direction: a message to a rank may not leave before that rank's message to this one has come.
        self._leaving, self._coming = _Waiter(), _Waiter()

    def send(self, tensor: Tensor, to: int, label: Label) -> None:
        """Start to send a tensor, which must stay as it is until :meth:`flush`: it may be sent from where it lies."""
        buffer = tensor.to(self._where).contiguous()
        with self.trace(Kind.SEND, label, bytes=buffer.nbytes, peer=to):
            message = Message(label, to, self.member.send(buffer, to), buffer)
            self._leaving.add(message)
        self._sent = [m for m in self._sent if not m.done.is_set()] + [message]

    def receive(self, shape: tuple[int, ...], dtype: torch.dtype, source: int, label: Label) -> Message:
        """Post a receive and return at once."""
        buffer = torch.empty(shape, dtype=dtype, device=self._where)
        message = Message(label, source, self.member.receive(buffer, source), buffer)
        self._coming.add(message)
        return message

    def take(self, message: Message) -> Tensor:
        """The tensor of a receive, on this rank's device; waits for it where it has not come.

        Raises:
            RankFailed: where another rank failed meanwhile.
        """
        self.wait(message)
        with self.trace(Kind.RECEIVE, message.label, bytes=message.buffer.nbytes, peer=message.peer):
            return message.buffer.to(self.device)

    def wait(self, message: Message) -> None:
        """Wait until a message has come.

        Raises:
            RankFailed: where another rank failed meanwhile.
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
        """End the helper threads once what they wait for has ended: as a rule, at once."""
        for waiter in (self._leaving, self._coming):
            waiter.add(None)
        for waiter in (self._leaving, self._coming):
            # A process that ends while a thread is within gloo may be aborted. One that waits for a failed rank stays.
            waiter.join(timeout=0.2)

    def _await(self, message: Message) -> None:
        while not message.done.wait(timeout=0.2):
            self.failure.check()
        self._check(message)

    def _check(self, message: Message) -> None:
        if message.error is not None:
            # A peer that failed closes its connections: its own reason is worth more than ours.
            self.failure.check(patience=2.0)
            raise message.error


class _Waiter(threading.Thread):
    """Waits for transfers in the order in which they were posted.

    gloo's point-to-point transfers cannot be polled; waiting on a thread leaves the main one free to compute, and to
    notice a failure elsewhere. A daemon: a transfer that never ends must not keep the process.
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
            del message  # and with it the buffer, before the next one comes
