"""Deferred calls: a result that is asked for before it is computed.

An unmodified pipeline calls its transformer for one guidance branch after the other, and looks at the results only when
it has called for all. So a call returns at once a tensor that stands for its result; the first look at any settles all
that are pending, together, in whatever order a schedule wants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

_LATER = frozenset([Tensor.__getitem__, Tensor.float, Tensor.to])
"""Functions of one tensor whose result is a tensor: on a deferred one they are deferred too."""


class Deferred(Tensor):
    """Stands for a tensor that is not computed yet; any use of it, its shape too, gives the real one's.

    Slicing and casting wait with it: some pipelines cut a result to size before they call for the next branch.

    Args:
        promise: gives the tensor; called once at most.

    Example:
        >>> asked = []
        >>> later = Deferred(lambda: asked.append("now") or torch.arange(4))
        >>> part = later[1:].float()
        >>> asked
        []
        >>> part.sum(), asked
        (tensor(6.), ['now'])
    """

    _promise: Callable[[], Tensor]
    _value: Tensor | None
    _derived: list[Deferred]

    @staticmethod
    def __new__(cls, promise: Callable[[], Tensor]) -> Deferred:
        """A tensor without memory of its own."""
        tensor = Tensor._make_subclass(cls, torch.empty(0))
        tensor._promise, tensor._value, tensor._derived = promise, None, []
        return tensor

    def __init__(self, promise: Callable[[], Tensor]) -> None:
        super().__init__()

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        first = args[0] if args else None
        if func in _LATER and isinstance(first, Deferred) and first._value is None:
            later = Deferred(lambda: func(*settled(args), **settled(kwargs)))
            first._derived.append(later)
            return later
        return func(*settled(args), **settled(kwargs))

    def settle(self) -> Tensor:
        """The real tensor."""
        if self._value is None:
            value = self._promise()
            self._value = value if self._value is None else self._value  # the promise of a derived one may have set it
            derived, self._derived = self._derived, []
            for one in derived:  # before anybody can write to the value
                one.settle()
        return self._value


def settled(tree: Any) -> Any:
    """``tree`` with real tensors in place of deferred ones."""
    return pytree.tree_map_only(Deferred, Deferred.settle, tree)
