"""The device transport: an accelerator's memory, through its own backend, such as NCCL.

A group of transfers is one entry in a queue on the device. Posting it returns at once, and waiting for it makes the
current *stream* wait, not the host: the host goes on to enqueue the next layer, and the device never runs dry.

    host      conv | post halo | wait | conv | post | wait | ...            never stops
    stream    ---- conv ----------'   (waits for halo)  ---- conv ---- ...
    backend             ------- halo -------'

Two things follow. A buffer that is sent must stay as it is until the backend's stream has passed it, so it is kept. And
an error on another rank is not seen by waiting, so a watchdog looks for it: see :class:`_Watchdog`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.distributed import Work

from toolkit.distributed.comm.failure import GLANCE, FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.distributed.comm.message import Message
from toolkit.errors import RunError, RunTimeout

LIMIT = 300.0
"""Seconds that the oldest transfer under way may take before the watchdog gives up."""


@dataclass(slots=True, eq=False)
class _Group:
    """Transfers that were posted together, and end together.

    Attributes:
        messages: The transfers. Their buffers live as long as this group.
        works: What torch gave for them: one work if the backend has groups.
        posted: When they were posted.
    """

    messages: Sequence[Message]
    works: Sequence[Work]
    posted: float

    @property
    def ended(self) -> bool:
        """Whether the backend's stream has passed the group."""
        return all(work.is_completed() for work in self.works)


class DeviceTransport:
    """Moves messages that lie in an accelerator's memory.

    Args:
        member: This rank.
        device: The device of the buffers.
        failure: The flag by which ranks report failures.
        limit: Seconds that the oldest transfer may take.
    """

    def __init__(self, member: Member, device: torch.device, failure: FailureFlag, *, limit: float = LIMIT) -> None:
        self.member = member
        self.where = device
        self._groups: deque[_Group] = deque()
        self._group_of: dict[Message, _Group] = {}
        self._watchdog = _Watchdog(self._oldest, failure, abort=member.abort, limit=limit)

    def post(self, messages: Sequence[Message]) -> None:
        """Enqueue transfers as one group."""
        self._watchdog.check()
        works = self.member.post([(message.buffer, message.peer, message.sends) for message in messages])
        group = _Group(messages, works, time.monotonic())
        self._groups.append(group)
        self._group_of |= dict.fromkeys(messages, group)
        self.release()

    def arrived(self, message: Message) -> bool:
        """Whether a message is there."""
        group = self._group_of.get(message)
        return group is None or group.ended

    def wait(self, message: Message) -> None:
        """Make the current stream wait until a message has arrived. The host goes on at once."""
        self._watchdog.check()
        group = self._group_of.get(message)
        for work in group.works if group is not None else ():
            work.wait()

    def release(self) -> None:
        """Let go of groups that have ended: the memory of what was sent is free from here on."""
        while self._groups and self._groups[0].ended:
            for message in self._groups.popleft().messages:
                del self._group_of[message]

    def leaving(self) -> list[Message]:
        """The sends that have not left yet."""
        self.release()
        return [message for group in self._groups for message in group.messages if message.sends]

    def drain(self) -> None:
        """Block the host until everything sent has left: the one synchronisation, at the end of a call."""
        while self.leaving():
            self._watchdog.check()
            time.sleep(0.0005)

    def close(self) -> None:
        """End the watchdog."""
        self._watchdog.stop()

    def _oldest(self) -> float | None:
        """When the oldest group that has not ended was posted; None if there is none."""
        # On the watchdog's thread: a snapshot, because the main thread changes the queue meanwhile.
        return next((group.posted for group in tuple(self._groups) if not group.ended), None)


class _Watchdog(threading.Thread):
    """Ends transfers that would never end, because another rank has failed, died or stopped.

    A kernel of the backend waits on the device for its partner, and nothing on the host can interrupt it. So this
    thread looks at the failure flag, and at how long the oldest transfer has taken, and aborts the communicator: the
    kernel ends, whoever waits for the device goes on, and the next look of the main thread raises the reason.

    Args:
        oldest: Returns when the oldest transfer under way was posted.
        failure: The flag by which ranks report failures.
        abort: Aborts the group's communicators.
        limit: Seconds that a transfer may take.
    """

    def __init__(
        self,
        oldest: Callable[[], float | None],
        failure: FailureFlag,
        *,
        abort: Callable[[], None],
        limit: float,
    ) -> None:
        super().__init__(name="toolkit-watchdog", daemon=True)
        self._oldest, self._failure, self._abort, self._limit = oldest, failure, abort, limit
        self._error: BaseException | None = None
        self._over = threading.Event()
        self.start()

    def check(self) -> None:
        """Raise what this thread has found."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self.join(timeout=2 * GLANCE)

    def run(self) -> None:
        while self._error is None and not self._over.wait(GLANCE):
            try:
                self._failure.check()
                since = self._oldest()
                if since is not None and time.monotonic() - since > self._limit:
                    raise RunTimeout.of_run((self._failure.rank,), self._limit, last="a transfer that has not ended")
            except RunError as error:  # another rank's failure, a transfer that never ends, or a store that is gone
                self._error = error
                self._abort()
