"""Messages of a rehearsal: they are written down, and go nowhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch

from toolkit.distributed.comm.message import Message
from toolkit.planning.rehearsing.forecast import Forecast
from toolkit.planning.rehearsing.script import Await, Crossing, End, Kept, Post, Script


class SilentTransport:
    """Moves nothing: it writes down what is posted and waited for.

    Args:
        script: Where to write.
        device: The device of the buffers.
        live: Tells the bytes that are allocated now.
        forecast: When messages arrive; None: none has arrived before the rank waits for it.

    Attributes:
        where: The device of the buffers.
    """

    def __init__(
        self, script: Script, device: torch.device, live: Callable[[], int], forecast: Forecast | None
    ) -> None:
        self.where = device
        self._script, self._live, self._forecast = script, live, forecast
        self._numbers: dict[int, int] = {}
        self._ends: list[End] = []
        self._per_pair: dict[tuple[int, bool], int] = defaultdict(int)
        self._sent: list[Message] = []

    def post(self, messages: Sequence[Message]) -> None:
        """Write down a group, and drop what the group before has sent."""
        while self._sent:
            message, before = self._sent.pop(), self._live()
            number = self._number(message)
            del message
            if before > self._live():
                self._script.kept.append(Kept(number, len(self._script.steps), before - self._live()))
        for message in messages:
            pair = message.peer, message.sends
            self._numbers[id(message.done)] = len(self._ends)
            self._ends.append(End(message.peer, message.sends, self._per_pair[pair]))
            self._per_pair[pair] += 1
        self._sent = [message for message in messages if message.sends]
        crossings = [Crossing(message.sends, message.peer, message.buffer.nbytes) for message in messages]
        self._script.steps.append(Post(tuple(crossings), messages[0].label.purpose))

    def arrived(self, message: Message) -> bool:
        """Whether a message is there now: not before it was waited for, as long as other ranks' times are not known."""
        if message.done.is_set():
            return True
        return self._forecast is not None and self._forecast.arrived(self._end(message), self._script)

    def wait(self, message: Message) -> None:
        """Write down that the rank waits here."""
        message.done.set()
        self._script.steps.append(Await(self._number(message)))
        if self._forecast is not None:
            self._forecast.wait(self._end(message), self._script)

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

    def _number(self, message: Message) -> int:
        # The event lives as long as the message, and nothing else has it.
        return self._numbers[id(message.done)]

    def _end(self, message: Message) -> End:
        return self._ends[self._number(message)]
