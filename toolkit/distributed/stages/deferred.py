"""Deferred tensors: results that a pipeline holds before they are computed.

An unmodified pipeline calls its transformer for one guidance branch after the other, and looks at the results only
after the last call. So a call can return at once, with a tensor that stands for the result. The first look at any of
them runs all pending calls together, in whatever order the schedule wants.

    noise = transformer(x, text)         Deferred: nothing is computed
    empty = transformer(x, no_text)      Deferred
    noise - empty                        both are computed here, then subtracted
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from toolkit.numerics.tensor_compat import tree_map_only, without_modes

_LATER = frozenset([Tensor.__getitem__, Tensor.float, Tensor.to])
"""Functions of one tensor that return a tensor: applied to a deferred tensor, their result is deferred too."""


class Deferred(Tensor):
    """Stands for a tensor that is not computed yet; every use of it, even of its shape, gets the real one.

    Slicing and casting are deferred as well, because some pipelines cut a result to size before they call the
    transformer for the next branch.

    Args:
        promise: Computes the tensor; called once at most.

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
        """Make a tensor without memory of its own."""
        # A subclass of Tensor, so that isinstance checks in pipelines pass. Nobody sees the empty tensor inside: every
        # function goes through __torch_function__ below.
        with without_modes():
            tensor = torch.empty(0).as_subclass(cls)
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
        """Return the real tensor; compute it if nobody has asked before."""
        if self._value is None:
            value = self._promise()
            # The promise of a derived tensor settles its source, whose derived tensors are settled below: then this
            # one has its value already, and that one counts.
            self._value = value if self._value is None else self._value
            # Derived tensors are computed now, before anybody can write to the value: a cast that was asked for before
            # a write must not see the write.
            derived, self._derived = self._derived, []
            for one in derived:
                one.settle()
        return self._value


def settled(tree: Any) -> Any:
    """Replace the deferred tensors inside nested containers by the real ones."""
    return tree_map_only(Deferred, Deferred.settle, tree)
