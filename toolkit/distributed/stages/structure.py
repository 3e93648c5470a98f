"""Objects with tensors in them, as bytes and tensors: what ranks hand each other without trusting each other's code.

An ordinary pickle can call any function when it is read. Whoever could write to a rank's connection would run code of
his own. So only objects of a few kinds are read: containers, numbers, text, tensors, and what models return.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from toolkit.errors import RunError

PLAIN = (OrderedDict, complex, frozenset, range, set, slice, torch.Size, torch.device)
"""Classes without code of their own."""

OUTPUTS = (("diffusers.utils.outputs", "BaseOutput"), ("transformers.utils.generic", "ModelOutput"))
"""The base classes of what models return, by module and name."""

IN_OUTPUTS = {
    ("diffusers.models.autoencoders.vae", "DiagonalGaussianDistribution"): "the posterior that an encoder returns",
    ("transformers.cache_utils", "DynamicCache"): "the keys and values that a language model returns beside its output",
    ("transformers.cache_utils", "DynamicLayer"): "those of one of its layers",
}
"""Classes in models' outputs that are no outputs themselves, each with what it is."""

PACKAGES = ("builtins", "collections", "diffusers", "torch", "transformers")
"""Where such classes may lie: nothing else is imported because a message names it."""


def taken_apart(value: Any) -> tuple[bytes, list[Tensor]]:
    """An object without its tensors, as bytes; and the tensors, in the order in which they were met.

    Example:
        >>> body, tensors = taken_apart({"x": torch.ones(2), "names": ["a"]})
        >>> put_together(body, tensors)
        {'x': tensor([1., 1.]), 'names': ['a']}
    """
    stream = io.BytesIO()
    pickler = _Pickler(stream)
    pickler.dump(value)
    return stream.getvalue(), pickler.tensors


def put_together(body: bytes, tensors: list[Tensor]) -> Any:
    """The object that :func:`taken_apart` was given.

    Raises:
        RunError: If it has an object in it of a class that may not travel.
    """
    return _Unpickler(io.BytesIO(body), tensors).load()


class _Pickler(pickle.Pickler):
    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.tensors: list[Tensor] = []

    def persistent_id(self, obj: Any) -> int | None:
        if not isinstance(obj, Tensor):
            return None
        self.tensors.append(obj)
        return len(self.tensors) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, tensors: list[Tensor]) -> None:
        super().__init__(stream)
        self._tensors = tensors

    def persistent_load(self, place: Any) -> Tensor:
        return self._tensors[place]

    def find_class(self, module: str, name: str) -> Any:
        # A dotted name would reach into a module for what else it has imported.
        known = module.partition(".")[0] in PACKAGES and "." not in name
        found = super().find_class(module, name) if known else None
        if isinstance(found, torch.dtype) or (isinstance(found, type) and _may_travel(found)):
            return found
        raise RunError(
            f"a {module}.{name} between ranks: only containers, numbers, text, tensors and models' outputs are read. "
            "Let the module return tensors, or keep it on the rank that needs its output."
        )


def _may_travel(found: type) -> bool:
    bases = {(base.__module__, base.__name__) for base in found.__mro__}
    own = found.__module__, found.__name__
    return found in PLAIN or own in IN_OUTPUTS or not bases.isdisjoint(OUTPUTS)
