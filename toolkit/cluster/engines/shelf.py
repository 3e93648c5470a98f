"""The shelf: which models the workers of a cluster hold. A model is sent once, and again only if it has changed."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor, nn

from toolkit.cluster.engines.parcel import Parcel, put_together, take_apart
from toolkit.errors import PlanError
from toolkit.numerics.checksum import checksum
from toolkit.numerics.tensor_compat import version_of

Identify = Literal["contents", "versions"]


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
    """The kernel's record of the models that workers hold, and of their state.

    A model is packed into shared memory when it is first used, and again if its weights, attributes or configuration
    have changed since.

    Args:
        identify: What tells whether weights have changed. ``"contents"``: a checksum of every byte. ``"versions"``:
            torch's version counters, which take no time and do not see what is written through ``.data`` or NumPy, as
            by a merge of LoRA or the copy of a moving average.

    Raises:
        PlanError: If ``identify`` is neither.
    """

    def __init__(self, identify: Identify = "contents") -> None:
        if identify not in get_args(Identify):
            raise PlanError(f"identify={identify!r}: must be 'contents' or 'versions'.")
        self._print_of = _contents if identify == "contents" else _version
        self._entries: weakref.WeakKeyDictionary[nn.Module, _Entry] = weakref.WeakKeyDictionary()
        self._sent: set[int] = set()
        self._count = 0

    def refer(self, model: nn.Module, install: Callable[[int, Parcel], None]) -> ModelRef:
        """A reference to ``model`` as it is now; calls ``install`` first if the workers do not hold this state."""
        skeleton, tensors = take_apart(model)
        prints = tuple(self._print_of(tensor) for tensor in tensors)
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
        """The keys of models that workers hold and the kernel no longer has; they are forgotten here."""
        gone = self._sent - {entry.key for entry in self._entries.values()}
        self._sent -= gone
        return gone

    def workers_are_new(self) -> None:
        """Forget what was sent, because the workers that held it have ended; keep what was packed."""
        self._sent.clear()


def _contents(tensor: Tensor) -> tuple[object, ...]:
    # A tensor without data has no contents: its shape says all.
    return None if tensor.is_meta else checksum(tensor), tuple(tensor.shape), tensor.dtype


def _version(tensor: Tensor) -> tuple[object, ...]:
    return tensor.data_ptr(), version_of(tensor), tuple(tensor.shape), tensor.dtype, str(tensor.device)
