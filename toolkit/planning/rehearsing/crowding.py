"""Ranks that share a processor or an accelerator: how many have one each, and what more of them cost each other.

Operators are measured on ranks that have a processor each. Where more ranks compute at once, the operating system lets
them take turns of some milliseconds: most calls of an operator are as quick as ever, and one waits for a whole turn. So
single calls do not tell how long such ranks take; how much all of them get done in a second does.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import torch

from toolkit.distributed.comm.group import Member
from toolkit.planning.rehearsing.operator_call import OperatorCall
from toolkit.runs.device import device_of_rank, synchronise
from toolkit.runs.trace import clock

SECONDS = 1.0
"""How long ranks work to show their pace."""


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


def place_of_rank(device: str | None) -> Place:
    """Where this rank computes."""
    where = device_of_rank(Member.of(None).rank, device)
    room = _processors() // torch.get_num_threads() if where.type == "cpu" else 1
    return Place(socket.gethostname(), str(where), max(1, room))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def measure_pace(calls: Mapping[str, OperatorCall], seconds: Mapping[str, float], device: str | None) -> float:
    """How quickly this rank calls operators in turn for a while, which other ranks do at the same time.

    Args:
        calls: The operators, by text.
        seconds: What a call of each takes.
        device: The type of device; None: the machine's accelerator where there is one.

    Returns:
        What its calls should have taken, over what they did take.
    """
    where = device_of_rank(Member.of(None).rank, device)
    with torch.no_grad():
        ready = [(call.run_on(where), seconds[key]) for key, call in calls.items()]
        for run, _ in ready:
            run()
        synchronise(where)
        done, begin = 0.0, clock()
        for run, usual in cycle(ready):
            run()
            synchronise(where)
            done += usual
            if clock() - begin > SECONDS:
                break
    return done / (clock() - begin)
