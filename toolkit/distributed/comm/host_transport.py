"""The host transport: host memory, through gloo.

Three threads work for it. The main thread starts all transfers; one helper thread waits for the sends and one for the
receives, so the main thread can compute meanwhile, and can notice the failure of another rank while it waits.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence

import torch
from torch.distributed import Work

from toolkit.distributed.comm.failure import GLANCE, FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.distributed.comm.message import Message


class HostTransport:
    """Moves messages that lie in host memory.

    Args:
        member: This rank.
        failure: The flag by which ranks report failures.
    """

    def __init__(self, member: Member, failure: FailureFlag) -> None:
        self.member = member
        self.where = torch.device("cpu")
        self._failure = failure
        self._sent: list[Message] = []
        # One helper per direction. With a single one, a send that cannot leave until its receiver is ready would keep
        # a receive that has arrived from being noticed, and two ranks could wait for each other.
        self._leaving, self._coming = _Waiter(), _Waiter()

    def post(self, messages: Sequence[Message]) -> None:
        """Start transfers as one group."""
        works = self.member.post([(message.buffer, message.peer, message.sends) for message in messages])
        for message, work in zip(messages, works, strict=True):
            (self._leaving if message.sends else self._coming).add(message, work)
        self._sent += [message for message in messages if message.sends]

    def arrived(self, message: Message) -> bool:
        """Whether a message is there."""
        return message.done.is_set()

    def wait(self, message: Message) -> None:
        """Wait until a message has arrived, and look now and then whether another rank has failed."""
        while not message.done.wait(timeout=GLANCE):
            self._failure.check()
        if message.error is not None:
            raise message.error

    def release(self) -> None:
        """Let go of what has left: its memory is free from here on."""
        self._sent = self.leaving()

    def leaving(self) -> list[Message]:
        """The sends that have not left yet."""
        return [message for message in self._sent if not message.done.is_set()]

    def drain(self) -> None:
        """Wait until everything sent has left."""
        for message in self.leaving():
            self.wait(message)
        self._sent = []

    def close(self) -> None:
        """End the helper threads, usually at once: they end when what they wait for has ended."""
        for waiter in (self._leaving, self._coming):
            # A process that exits while a thread is inside gloo may be aborted, so give the threads a moment. A thread
            # that waits for a rank that failed would never end; it is a daemon and is left behind.
            waiter.end(timeout=GLANCE)


class _Waiter(threading.Thread):
    """Waits for transfers in the order in which they were posted.

    gloo's point-to-point transfers cannot be polled, so something has to block on them. The thread is a daemon: a
    transfer that never ends must not keep the process alive.
    """

    def __init__(self) -> None:
        super().__init__(name="toolkit-transfers", daemon=True)
        self._entries: queue.SimpleQueue[tuple[Message, Work] | None] = queue.SimpleQueue()

    def add(self, message: Message, work: Work) -> None:
        if self.ident is None:  # the first one: many exchanges only send, or only receive
            self.start()
        self._entries.put((message, work))

    def end(self, timeout: float) -> None:
        if self.ident is not None:
            self._entries.put(None)
            self.join(timeout)

    def run(self) -> None:
        while (entry := self._entries.get()) is not None:
            message, work = entry
            try:
                work.wait()
            except BaseException as error:
                # Raised again on the main thread, by whoever waits for the message.
                message.error = error
            done = message.done
            # Otherwise these variables would keep the buffer alive: until the next message comes, or, because this
            # thread may have to wait for the interpreter after set(), while the main thread goes on.
            del entry, message, work
            done.set()
