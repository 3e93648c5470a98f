"""An operator with the shapes of its arguments: what takes time and memory, and is measured once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from toolkit.numerics.tensor_compat import tree_map
from toolkit.planning.rehearsing.work import Work, work_of


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor without its values.

    Attributes:
        shape: Its shape.
        stride: Its strides, in elements.
        dtype: The name of its dtype, such as ``float32``.
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, tensor: Tensor) -> TensorSpec:
        """Describe a tensor."""
        return cls(tuple(tensor.shape), tensor.stride(), str(tensor.dtype).removeprefix("torch."))

    def make(self, device: torch.device) -> Tensor:
        """Make such a tensor: floating-point values are drawn, integers are 0, truth values are true.

        Elements that share memory (stride 0) do so here, too.
        """
        dtype = getattr(torch, self.dtype)
        size = 1 + sum((count - 1) * step for count, step in zip(self.shape, self.stride, strict=True))
        size = 0 if 0 in self.shape else size
        if dtype.is_floating_point or dtype.is_complex:
            memory = torch.randn(size, device=device).to(dtype)
        else:
            memory = torch.full((size,), int(dtype is torch.bool), dtype=dtype, device=device)
        return memory.as_strided(self.shape, self.stride)

    def empty(self, device: torch.device) -> Tensor:
        """Make such a tensor with memory that nobody has written to; or without data, inside ``without_data``."""
        return torch.empty_strided(self.shape, self.stride, dtype=getattr(torch, self.dtype), device=device)

    def __str__(self) -> str:
        plain = self.stride == _contiguous(self.shape)
        strides = "" if plain else f"/{','.join(map(str, self.stride))}"
        return f"{self.dtype}[{','.join(map(str, self.shape))}{strides}]"


@dataclass(frozen=True, slots=True, eq=False)
class OperatorCall:
    """One call of an ATen operator, without values.

    Attributes:
        name: The operator and its overload, such as ``aten.add.Tensor``.
        args: Its arguments; tensors are :class:`TensorSpec`.
        kwargs: Its further arguments.
        work: What it has to do.

    Example:
        >>> x = torch.zeros(2, 3)
        >>> call = OperatorCall.of(torch.ops.aten.add.Tensor, (x, 1.0), {}, x + 1.0)
        >>> print(call)
        aten.add.Tensor(float32[2,3], 1.0)
        >>> call.run_on(torch.device("cpu"))().shape
        torch.Size([2, 3])
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    work: Work

    @classmethod
    def of(cls, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> OperatorCall:
        """Describe a call that returned ``out``."""
        described, named = tree_map(_spec_of, (args, kwargs))
        return cls(str(func), described, named, work_of(func, args, kwargs, out))

    @property
    def operator(self) -> Any:
        """The operator itself."""
        library, packet, overload = self.name.split(".")
        return getattr(getattr(getattr(torch.ops, library), packet), overload)

    def run_on(self, device: torch.device) -> Callable[[], Any]:
        """Make the arguments on ``device``; returns the call, to be made as often as one likes."""
        args, kwargs = tree_map(lambda value: _made(value, device), (self.args, self.kwargs))
        operator = self.operator
        return lambda: operator(*args, **kwargs)

    def __str__(self) -> str:
        return key_of(self.name, self.args, self.kwargs)


def key_of(name: object, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """An operator with the shapes of its arguments, as text.

    Args:
        name: The operator.
        args: Its arguments; tensors, or :class:`TensorSpec`.
        kwargs: Its further arguments.

    Example:
        >>> key_of("aten.add.Tensor", (torch.zeros(2, 3), torch.zeros(3, 2).T), {"alpha": 2})
        'aten.add.Tensor(float32[2,3], float32[2,3/1,2], alpha=2)'
    """
    named = [f"{key}={_text(value)}" for key, value in sorted(kwargs.items())]
    return f"{name}({', '.join([*map(_text, args), *named])})"


def tensors_in(args: Iterable[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """The tensors among the arguments of an ATen operator, which nest in lists at most.

    Example:
        >>> a, b = torch.zeros(2), torch.zeros(3)
        >>> [len(one) for one in tensors_in(([a, None], 2), {"out": b})]
        [2, 3]
    """
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value, {})


def computes(func: Any) -> bool:
    """Whether an operator does anything that takes time: views and empty tensors do not.

    Example:
        >>> aten = torch.ops.aten
        >>> [computes(one) for one in (aten.view.default, aten.empty.memory_format, aten.copy_.default)]
        [False, False, True]
    """
    if str(func).split(".")[1].startswith(("empty", "new_empty", "detach", "alias", "lift_fresh")):
        return False
    returned = func._schema.returns
    return not returned or not all(one.alias_info and not one.alias_info.is_write for one in returned)


def _spec_of(value: Any) -> Any:
    # Whose random numbers an operator draws makes no difference to its cost.
    return TensorSpec.of(value) if isinstance(value, Tensor) else None if isinstance(value, torch.Generator) else value


def _made(value: Any, device: torch.device) -> Any:
    if isinstance(value, TensorSpec):
        return value.make(device)
    return device if isinstance(value, torch.device) else value


def _text(value: Any) -> str:
    value = _spec_of(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    return str(value)


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))
