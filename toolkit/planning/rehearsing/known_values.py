"""Values that are known without data: small tensors that follow from no weight and no input.

Models and schedulers compute with such numbers what they will do: timesteps, frame numbers, masks, counts. While a
tensor has no data, its *twin* may: a small tensor on the CPU with the values that the tensor would have. An operator
whose tensors all have twins is computed on the twins as well, so a loop over timesteps or a mask of frames goes the way
that it goes in a run:

    torch.arange(5)       no tensor is given         its result has a twin
    index == 3            ``index`` has one          so has the result, and ``if`` may ask for it
    latent + sigma        ``latent`` has none        the result has none; ``if`` on it raises
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from toolkit.errors import ModelError
from toolkit.numerics.tensor_compat import tree_leaves, tree_map, without_modes
from toolkit.planning.rehearsing.operator_call import tensors_in

MOST = 65536
"""Elements of a tensor above which its values are not kept."""


class KnownValues:
    """The twins of tensors without data.

    Attributes:
        asked: How often values have decided what happens next.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._twins: Any = WeakIdKeyDictionary()
        self._spoilt: WeakSet[Any] = WeakSet()
        self._borrowed: WeakSet[Any] = WeakSet()

    def learn(self, tensor: Tensor, twin: Tensor) -> None:
        """Keep the values of a tensor, if it is small."""
        if twin.numel() <= MOST:
            self._twins[tensor] = twin

    def borrow(self, tensor: Tensor, real: Tensor) -> None:
        """Keep the values of a tensor that stands for one with data: those are read, and never written to."""
        twin = self.twin_of(real)
        if twin is not None:
            self._twins[tensor] = twin
            self._borrowed.add(twin.untyped_storage())

    def forget(self, tensor: Tensor) -> None:
        """Forget the values of a tensor that was written to by something that is not computed here."""
        twin = self.twin_of(tensor)
        if twin is not None:
            self._spoilt.add(twin.untyped_storage())

    def learn_all(self, out: Any, twins: Any) -> None:
        """Keep the values of all tensors that an operator has returned."""
        for tensor, twin in zip(tree_leaves(out), tree_leaves(twins), strict=True):
            if isinstance(tensor, Tensor) and isinstance(twin, Tensor) and tensor is not twin:
                self.learn(tensor, twin)

    def compute(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any = None) -> Any:
        """Call an operator on the twins of its tensors.

        Args:
            func: The operator.
            args: Its arguments.
            kwargs: Its further arguments.
            out: What it returned without data, if that is known: a large result is not worth knowing.

        Returns:
            What it returns on the twins; None if a tensor has none, or chance decides.
        """
        twins = [self.twin_of(tensor) for tensor in tensors_in(args, kwargs)]
        lost = any(twin is None for twin in twins) or not _is_determined(func) or _is_large(out)
        if lost or any(twin.untyped_storage() in self._borrowed for twin in self._written(func, args, kwargs)):
            self._spoil(func, args, kwargs)
            return None
        given = iter(twins)

        def known(value: Any) -> Any:
            if isinstance(value, Tensor):
                return next(given)
            return torch.device("cpu") if isinstance(value, torch.device) else value

        with without_modes():
            on_twins, named = tree_map(known, (tuple(args), dict(kwargs)))
            return func(*on_twins, **named)

    def positions(self, indices: Sequence[Tensor | None], device: torch.device) -> list[Tensor | None]:
        """Indices with integers in place of truth values: those tell by their shape how much they select.

        Raises:
            ModelError: If truth values are not known.
        """
        found: list[Tensor | None] = []
        for index in indices:
            if index is None or index.dtype is not torch.bool:
                found.append(index)
                continue
            twin = self.twin_of(index)
            self.asked += 1
            if twin is None:
                raise unknown(torch.ops.aten.index.Tensor)
            with without_modes():
                places = twin.nonzero().unbind(1)
            found += [torch.empty(len(place), dtype=torch.int64, device=device) for place in places]
        return found

    def twin_of(self, tensor: Tensor) -> Tensor | None:
        """The values of a tensor; None if they are not known."""
        if type(tensor) is Tensor and tensor.device.type == "cpu":
            # A tensor with data, such as the bytes of a message.
            return tensor if tensor.numel() <= MOST and tensor.untyped_storage() not in self._spoilt else None
        found: Tensor | None = self._twins.get(tensor)
        return None if found is None or found.untyped_storage() in self._spoilt else found

    def _spoil(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Forget the values of what an operator writes to when what it writes is not known."""
        for twin in self._written(func, args, kwargs):
            self._spoilt.add(twin.untyped_storage())

    def _written(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
        """The twins of what an operator writes to."""
        for place, name in _written_by(func):
            for value in tree_leaves(args[place] if place < len(args) else kwargs.get(name)):
                twin = self._twins.get(value) if isinstance(value, Tensor) else None
                if twin is not None:
                    yield twin


def unknown(func: Any) -> ModelError:
    """The refusal of an operator whose result decides what happens next, on values that are not known."""
    return ModelError(
        f"{func} asks for the values of a tensor that follows from weights or inputs: what the model does next depends "
        "on data, so it cannot be rehearsed. Measure a run instead."
    )


def _is_large(out: Any) -> bool:
    return any(isinstance(value, Tensor) and value.numel() > MOST for value in tree_leaves(out))


# Operators do not change, and every call asks: the answers are kept.
@cache
def _written_by(func: Any) -> tuple[tuple[int, str], ...]:
    """The place and name of each argument that an operator writes to."""
    arguments = enumerate(func._schema.arguments)
    return tuple((place, one.name) for place, one in arguments if one.alias_info and one.alias_info.is_write)


@cache
def _is_determined(func: Any) -> bool:
    """Whether an operator's result follows from its arguments: fresh memory's values do not, nor do random numbers."""
    name = str(func).split(".")[1]
    return torch.Tag.nondeterministic_seeded not in func.tags and not name.startswith(("empty", "new_empty", "resize"))
