"""Messages between ranks that are threads of this process, for tests of single parts: no process group, no model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds after which a wait counts as a deadlock."""


class Posted:
    """A receive: the n-th from one rank to another. It looks like a Message."""

    def __init__(self, wires: Wires, key: tuple[int, int], number: int, shape: tuple[int, ...]) -> None:
        self.wires, self.key, self.number, self.shape = wires, key, number, shape
        self.buffer = SimpleNamespace(shape=shape)

    def is_set(self) -> bool:
        return len(self.wires.sent.get(self.key, [])) > self.number


class Wires:
    """What all ranks have sent so far: by sender and receiver, in order."""

    def __init__(self) -> None:
        self.sent: dict[tuple[int, int], list[Tensor]] = {}
        self.changed = threading.Condition()

    def exchanges(self, ranks: int) -> list[Wire]:
        return [Wire(self, rank) for rank in range(ranks)]


class Wire:
    """The exchange of one rank; ``log`` lists what it has started, in order."""

    def __init__(self, wires: Wires, rank: int) -> None:
        self.wires, self.member = wires, SimpleNamespace(rank=rank)
        self.log: list[tuple[str, int, str]] = []
        self._received: dict[int, int] = {}

    def send(self, tensor: Tensor, to: int, label: Any) -> None:
        with self.wires.changed:
            self.wires.sent.setdefault((self.member.rank, to), []).append(tensor.clone())
            self.log.append(("send", to, str(label)))
            self.wires.changed.notify_all()

    def receive(self, shape: Sequence[int], dtype: torch.dtype, source: int, label: Any) -> Posted:
        number = self._received.get(source, 0)
        self._received[source] = number + 1
        self.log.append(("receive", source, str(label)))
        return Posted(self.wires, (source, self.member.rank), number, tuple(shape))

    def swap(self, label: Any, sends: Sequence[Any] = (), receives: Sequence[Any] = ()) -> list[Posted]:
        for one in sends:
            self.send(one.tensor, one.to, label)
        return [self.receive(one.shape, one.dtype, one.source, label) for one in receives]

    def arrived(self, message: Posted) -> bool:
        return message.is_set()

    def wait(self, message: Posted) -> None:
        with self.wires.changed:
            assert self.wires.changed.wait_for(message.is_set, PATIENCE), f"deadlock: {message.key} {message.number}"

    def take(self, message: Posted) -> Tensor:
        self.wait(message)
        tensor = self.wires.sent[message.key][message.number]
        assert tuple(tensor.shape) == message.shape, "the receiver expects another message than the sender sends"
        return tensor.clone()

    def flush(self) -> None:
        pass


def on_threads(functions: Sequence[Callable[[], T]]) -> list[T]:
    """Call one function per rank, each on a thread; raises what the first to fail raised."""
    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result(2 * PATIENCE) for future in [pool.submit(function) for function in functions]]
