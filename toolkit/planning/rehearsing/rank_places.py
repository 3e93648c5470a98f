"""Where ranks compute, and how many of them have a processor or an accelerator each."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from toolkit.distributed.comm.group import Member
from toolkit.runs.device import device_of_rank, processors


def own_device(kind: str | None) -> torch.device:
    """This rank's device.

    Args:
        kind: The type of device; None: the machine's accelerator where there is one.
    """
    return device_of_rank(Member.of(None).rank, kind)


class Place(NamedTuple):
    """Where a rank computes.

    Attributes:
        host: The name of its machine.
        device: Its device.
        room: How many ranks that device has room for: processors, over the threads of a rank; one on an accelerator.
    """

    host: str
    device: str
    room: int


def place_of_rank(kind: str | None) -> Place:
    """Where this rank computes."""
    device = own_device(kind)
    room = processors() // torch.get_num_threads() if device.type == "cpu" else 1
    return Place(socket.gethostname(), str(device), max(1, room))


def with_room(places: Sequence[Place]) -> int:
    """How many ranks, from the first on, have a processor or an accelerator each.

    Args:
        places: The place of each rank.

    Example:
        >>> here, there = Place("a", "cpu", 2), Place("b", "cpu", 2)
        >>> with_room([here, here, here]), with_room([here, here, there, there])
        (2, 4)
    """
    taken: Counter[tuple[str, str]] = Counter()
    for count, place in enumerate(places):
        taken[place[:2]] += 1
        if taken[place[:2]] > place.room:
            return count
    return len(places)


def on_first(count: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function on the first ranks; the others return None, and keep out of the way."""
    return function(*arguments) if Member.of(None).rank < count else None
