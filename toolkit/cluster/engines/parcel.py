"""Parcels: objects between the kernel and its workers, with their tensors in one block of shared memory.

Functions of a notebook are pickled by value. Every tensor in the object, a model's weights for instance, is copied into
one block of shared memory, and receivers map the block. So a parcel costs one file descriptor and one copy, whatever
its size and the number of receivers.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from typing import Any

import cloudpickle
import torch
from torch import Tensor, nn

from toolkit.errors import ToolkitError
from toolkit.models.transformers_pickle import reduced
from toolkit.numerics.tensor_compat import new_shared_storage

_ALIGN = 64


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a tensor in the storage."""

    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    parameter: bool
    requires_grad: bool


@dataclass(frozen=True, slots=True)
class Parcel:
    """A pickled object whose tensors lie in shared memory.

    Attributes:
        storage: One-dimensional uint8 tensor in shared memory: the tensors, then the pickle.
        slots: The places of the tensors.
        start: Where the pickle begins.
    """

    storage: Tensor
    slots: tuple[Slot, ...]
    start: int

    @property
    def nbytes(self) -> int:
        """Bytes of shared memory."""
        return self.storage.nbytes


def pack(value: Any) -> Parcel:
    """Copy an object into a parcel.

    Raises:
        ToolkitError: If there is too little shared memory for its tensors.

    Example:
        >>> unpack(pack({"latent": torch.arange(3), "name": "a"}))
        {'latent': tensor([0, 1, 2]), 'name': 'a'}
    """
    skeleton, tensors = take_apart(value)
    return put_together(skeleton, tensors)


def take_apart(value: Any) -> tuple[bytes, list[Tensor]]:
    """Pickle an object without its tensors; returns the pickle and the list of tensors."""
    stream = io.BytesIO()
    pickler = _Pickler(stream)
    pickler.dump(value)
    return stream.getvalue(), pickler.tensors


def put_together(skeleton: bytes, tensors: list[Tensor]) -> Parcel:
    """Copy tensors and a pickle that refers to them into shared memory."""
    slots, end = [], 0
    for tensor in tensors:
        parameter = isinstance(tensor, nn.Parameter)
        slots.append(Slot(end, tuple(tensor.shape), tensor.dtype, parameter, tensor.requires_grad))
        end += -(-tensor.numel() * tensor.element_size() // _ALIGN) * _ALIGN
    storage = _shared(end + len(skeleton))
    for slot, tensor in zip(slots, tensors, strict=True):
        _view(storage, slot).copy_(tensor.detach())
    storage[end:] = torch.frombuffer(bytearray(skeleton), dtype=torch.uint8)
    return Parcel(storage, tuple(slots), end)


def unpack(parcel: Parcel) -> Any:
    """The object of a parcel. Its tensors are views of the shared memory: a write to one is seen by all receivers."""
    skeleton = parcel.storage[parcel.start :].numpy().tobytes()
    return _Unpickler(io.BytesIO(skeleton), parcel).load()


def _shared(size: int) -> Tensor:
    try:
        return torch.empty(0, dtype=torch.uint8).set_(new_shared_storage(max(size, 1)))[:size]
    except RuntimeError as error:
        raise ToolkitError(
            f"{size / 1e6:.0f} MB of shared memory are not available ({error}): give the machine or container more, "
            "for instance with docker run --shm-size."
        ) from error


def _view(storage: Tensor, slot: Slot) -> Tensor:
    size = slot.dtype.itemsize
    for extent in slot.shape:
        size *= extent
    return storage[slot.offset : slot.offset + size].view(slot.dtype).view(slot.shape)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles by value what cannot be imported elsewhere, and leaves out dense tensors."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, protocol=pickle.HIGHEST_PROTOCOL)
        self.tensors: list[Tensor] = []
        self._places: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> int | None:
        if type(obj) not in (Tensor, nn.Parameter) or obj.layout is not torch.strided:
            return None
        if id(obj) not in self._places:
            self._places[id(obj)] = len(self.tensors)
            self.tensors.append(obj)
        return self._places[id(obj)]

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, torch.Generator):
            # Its state must begin where its storage does, so it cannot be a view of the parcel's.
            return _generator, (str(obj.device), obj.get_state().numpy().tobytes())
        return reduced(obj) or super().reducer_override(obj)


def _generator(device: str, state: bytes) -> torch.Generator:
    generator = torch.Generator(device)
    generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    return generator


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, parcel: Parcel) -> None:
        super().__init__(stream)
        self._parcel = parcel
        self._made: dict[int, Tensor] = {}

    def persistent_load(self, place: Any) -> Tensor:
        if place not in self._made:
            slot = self._parcel.slots[place]
            tensor = _view(self._parcel.storage, slot)
            if slot.parameter:
                tensor = nn.Parameter(tensor, requires_grad=slot.requires_grad)
            else:
                tensor.requires_grad_(slot.requires_grad)
            self._made[place] = tensor
        return self._made[place]
