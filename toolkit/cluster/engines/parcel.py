"""Parcels: objects between the kernel and its workers, with their tensors in one block of shared memory.

Functions of a notebook are pickled by value. Every tensor in the object, a model's weights for instance, is copied into
one block of shared memory, and receivers map the block. So a parcel costs one file descriptor and one copy, whatever
its size and the number of receivers, and the message that it travels with is small.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from typing import Any

import cloudpickle
import torch
from torch import Tensor, nn

from toolkit.cluster.engines.block import Block
from toolkit.models.transformers_pickle import reduced

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
        block: The tensors, then the pickle.
        start: Where the pickle begins.
    """

    block: Block
    start: int


def pack(value: Any) -> Parcel:
    """Copy an object into a parcel.

    Raises:
        ToolkitError: If there is too little memory for its tensors.

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
        end += _aligned(tensor.numel() * tensor.element_size())
    pickled = pickle.dumps((tuple(slots), skeleton), protocol=pickle.HIGHEST_PROTOCOL)
    # torch.load refuses a storage that is no multiple of its elements, and a result's storage is the whole block.
    block = Block.of_size(end + _aligned(len(pickled)))
    for slot, tensor in zip(slots, tensors, strict=True):
        _view(block.tensor, slot).copy_(tensor.detach())
    block.tensor[end : end + len(pickled)] = torch.frombuffer(bytearray(pickled), dtype=torch.uint8)
    return Parcel(block, end)


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def unpack(parcel: Parcel) -> Any:
    """The object of a parcel. Its tensors are views of the shared memory: a write to one is seen by all receivers."""
    slots, skeleton = pickle.loads(parcel.block.tensor[parcel.start :].numpy().tobytes())
    return _Unpickler(skeleton, parcel.block.tensor, slots).load()


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
    def __init__(self, skeleton: bytes, storage: Tensor, slots: tuple[Slot, ...]) -> None:
        super().__init__(io.BytesIO(skeleton))
        self._storage, self._slots = storage, slots
        self._made: dict[int, Tensor] = {}

    def persistent_load(self, place: Any) -> Tensor:
        if place not in self._made:
            slot = self._slots[place]
            tensor = _view(self._storage, slot)
            if slot.parameter:
                tensor = nn.Parameter(tensor, requires_grad=slot.requires_grad)
            else:
                tensor.requires_grad_(slot.requires_grad)
            self._made[place] = tensor
        return self._made[place]
