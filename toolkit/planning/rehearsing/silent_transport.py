"""Messages of a rank whose script is written: nothing is moved, what it posts and waits for is written down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from toolkit.distributed.comm.group import Member
from toolkit.distributed.comm.message import Message
from toolkit.planning.rehearsing.forecast import Forecast
from toolkit.planning.rehearsing.script import Await, Crossing, End, Kept, Post, Script


class Mail(Protocol):
    """What tells ranks the numbers in their messages, such as the shapes that a stage will hand on."""

    def sent(self, buffer: Tensor, *, to: int, purpose: str) -> None:
        """Take what this rank sends."""

    def received(self, buffer: Tensor, end: End) -> None:
        """Wait until the rank at the other end has sent, and learn what is known of the numbers in ``buffer``."""


class Correspondence:
    """All messages of one rank, over all groups that it is in.

    Args:
        script: Where to write.
        device: The device of the buffers.
        live: Tells the bytes that are allocated now.
        forecast: When messages arrive; None: none has arrived before the rank waits for it.
        mail: Tells the numbers in messages; None: the rank's code asks for none.
    """

    def __init__(
        self,
        script: Script,
        device: torch.device,
        live: Callable[[], int],
        forecast: Forecast | None = None,
        mail: Mail | None = None,
    ) -> None:
        self.device, self.script, self.live, self.forecast, self.mail = device, script, live, forecast, mail
        self._numbers: dict[int, int] = {}
        self._ends: list[End] = []
        self._per_pair: dict[tuple[int, bool, str], int] = defaultdict(int)

    def transport(self, member: Member) -> SilentTransport:
        """A transport for the messages in a group."""
        return SilentTransport(self, member.purpose)

    def add(self, message: Message, group: str) -> None:
        """Give a message its number and its place among those with the same peer."""
        pair = message.peer, message.sends, group
        # The event lives as long as the message, and nothing else has it.
        self._numbers[id(message.done)] = len(self._ends)
        self._ends.append(End(message.peer, message.sends, self._per_pair[pair], group))
        self._per_pair[pair] += 1

    def number(self, message: Message) -> int:
        """The number of a message, counted over all that this rank has posted."""
        return self._numbers[id(message.done)]

    def end(self, message: Message) -> End:
        """This rank's end of a message."""
        return self._ends[self.number(message)]


class SilentTransport:
    """Moves nothing: it writes down what is posted and waited for in one group.

    Args:
        rank: The messages of the rank.
        group: The purpose of the group.

    Attributes:
        where: The device of the buffers.
    """

    def __init__(self, rank: Correspondence, group: str) -> None:
        self.where = rank.device
        self._rank, self._group = rank, group
        self._sent: list[Message] = []

    def post(self, messages: Sequence[Message]) -> None:
        """Write down a group of messages, and drop what the one before has sent."""
        script, live = self._rank.script, self._rank.live
        while self._sent:
            message, before = self._sent.pop(), live()
            number = self._rank.number(message)
            del message
            if before > live():
                script.kept.append(Kept(number, len(script.steps), before - live()))
        for message in messages:
            self._rank.add(message, self._group)
            if message.sends and self._rank.mail is not None:
                self._rank.mail.sent(message.buffer, to=message.peer, purpose=self._group)
        self._sent = [message for message in messages if message.sends]
        crossings = [Crossing(message.sends, message.peer, message.buffer.nbytes) for message in messages]
        script.steps.append(Post(tuple(crossings), messages[0].label.purpose, self._group))

    def arrived(self, message: Message) -> bool:
        """Whether a message is there now: not before it was waited for, as long as other ranks' times are not known."""
        if message.done.is_set():
            return True
        forecast = self._rank.forecast
        return forecast is not None and forecast.arrived(self._rank.end(message), self._rank.script)

    def wait(self, message: Message) -> None:
        """Write down that the rank waits here."""
        if not message.sends and not message.done.is_set() and self._rank.mail is not None:
            self._rank.mail.received(message.buffer, self._rank.end(message))
        message.done.set()
        self._rank.script.steps.append(Await(self._rank.number(message)))
        if self._rank.forecast is not None:
            self._rank.forecast.wait(self._rank.end(message), self._rank.script)

    def release(self) -> None:
        """What has left is dropped with the next post."""

    def leaving(self) -> list[Message]:
        """The sends of the last group."""
        return self._sent

    def drain(self) -> None:
        """Write down that the rank waits for the sends of the last group."""
        for message in self._sent:
            self.wait(message)
        self._sent = []

    def close(self) -> None:
        """No threads to end."""
