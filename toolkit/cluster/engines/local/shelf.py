"""The shelf: models that a cluster's workers hold, sent once and again only when they changed."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from toolkit.cluster.engines.local.wire import Parcel, put_together, take_apart


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Stands for a model in a call to a worker that holds it."""

    key: int


@dataclass(slots=True)
class _Entry:
    key: int
    skeleton: bytes
    prints: tuple[object, ...]
    parcel: Parcel


class Shelf:
    """The kernel's side: which models the workers hold, and in what state.

    A model is packed into shared memory when it is first used and again when its weights, its attributes or its
    configuration have changed since (a tensor's version counter tells; writes through ``.data`` escape it).
    """

    def __init__(self) -> None:
        self._entries: weakref.WeakKeyDictionary[nn.Module, _Entry] = weakref.WeakKeyDictionary()
        self._sent: set[int] = set()
        self._count = 0

    def refer(self, model: nn.Module, install: Callable[[int, Parcel], None]) -> ModelRef:
        """A reference to ``model`` as it is now; calls ``install`` first where the workers do not hold it so."""
        skeleton, tensors = take_apart(model)
        prints = tuple(_fingerprint(tensor) for tensor in tensors)
        entry = self._entries.get(model)
        if entry is None or entry.skeleton != skeleton or entry.prints != prints:
            self._count += 1
            entry = _Entry(self._count, skeleton, prints, put_together(skeleton, tensors))
            self._entries[model] = entry
        if entry.key not in self._sent:
            install(entry.key, entry.parcel)
            self._sent.add(entry.key)
        return ModelRef(entry.key)

    def stale(self) -> set[int]:
        """Keys that workers hold and no model of the kernel stands for any more; they are forgotten here."""
        gone = self._sent - {entry.key for entry in self._entries.values()}
        self._sent -= gone
        return gone

    def workers_are_new(self) -> None:
        """Forget what was sent: the workers that held it have ended. What was packed is kept."""
        self._sent.clear()


def _fingerprint(tensor: Tensor) -> tuple[object, ...]:
    version = 0 if tensor.is_inference() else tensor._version
    pointer = tensor.data_ptr() if tensor.layout is torch.strided else id(tensor)
    return pointer, version, tuple(tensor.shape), tensor.dtype, str(tensor.device)
