"""Functions that wrap private names of torch.

Every private name that the toolkit needs for tensors is used in this file only. If a new release of torch moves one,
only this file and its test break.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import Tensor
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes, _get_current_dispatch_mode_stack

TreeSpec = _pytree.TreeSpec
"""The structure of a tree without its leaves, as returned by :func:`tree_flatten`."""

DispatchMode = TorchDispatchMode
"""A context through which every operator goes, below autograd; see :func:`dispatch_modes`."""

T = TypeVar("T")


def tree_flatten(tree: Any) -> tuple[list[Any], TreeSpec]:
    """Split nested lists, tuples, dicts and output classes into their leaves and their structure.

    Why the private ``torch.utils._pytree``: diffusers registers its output classes there, so results in such a class
    are split too. Without it, everything that travels between stages would have to be a plain tuple.

    Example:
        >>> leaves, spec = tree_flatten({"a": (1, 2), "b": [3]})
        >>> leaves, tree_unflatten([10, 20, 30], spec)
        ([1, 2, 3], {'a': (10, 20), 'b': [30]})
    """
    return _pytree.tree_flatten(tree)


def tree_unflatten(leaves: Iterable[Any], spec: TreeSpec) -> Any:
    """Put leaves back into a structure: the inverse of :func:`tree_flatten`."""
    return _pytree.tree_unflatten(list(leaves), spec)


def tree_leaves(tree: Any) -> list[Any]:
    """List the leaves of nested containers, in the order of :func:`tree_flatten`."""
    return _pytree.tree_leaves(tree)


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to every leaf of nested containers, and return new containers."""
    return _pytree.tree_map(function, tree)


def tree_map_only(kind: type[T], function: Callable[[T], Any], tree: Any) -> Any:
    """Apply a function to all leaves of one type. Other leaves stay as they are.

    Example:
        >>> tree_map_only(int, lambda x: x + 1, {"a": 1, "b": ("two", 3)})
        {'a': 2, 'b': ('two', 4)}
    """
    return _pytree.tree_map_only(kind, function, tree)


def version_of(tensor: Tensor) -> int:
    """Count the in-place writes to a tensor's memory so far, through any view of it.

    Why ``Tensor._version``: autograd keeps this counter, and no public function tells whether a tensor was written to.
    Without it, nobody would notice arguments that change before a deferred call runs, or models that change between
    runs. Inference tensors have no counter; for them the result is always 0.

    Example:
        >>> import torch
        >>> x = torch.zeros(2)
        >>> before = version_of(x)
        >>> _ = x[0].add_(1)
        >>> version_of(x) - before
        1
    """
    return 0 if tensor.is_inference() else tensor._version


def function_modes() -> list[TorchFunctionMode]:
    """List the active ``TorchFunctionMode`` contexts of this thread, the outermost first.

    Why ``torch.overrides._get_current_function_mode_stack``: a deferred call, or one that runs on another thread, must
    run under the modes that were active when it was requested. There is no public way to list them.

    Example:
        >>> class Nothing(TorchFunctionMode):
        ...     pass
        >>> with Nothing() as mode:
        ...     function_modes()[-1] is mode
        True
    """
    return list(_get_current_function_mode_stack())


def dispatch_modes() -> list[TorchDispatchMode]:
    """List the active ``TorchDispatchMode`` contexts of this thread, the outermost first.

    Why the private ``_get_current_dispatch_mode_stack``: what runs on another thread must run under these, too.

    Example:
        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> with FlopCounterMode(display=False):
        ...     len(dispatch_modes())
        1
    """
    return list(_get_current_dispatch_mode_stack())


@contextmanager
def without_modes() -> Iterator[None]:
    """Operators inside the ``with`` block do not go through dispatch modes, such as those of a rehearsal.

    Private, because a mode is meant to see everything. Arithmetic on the shape of a tensor that is never made is
    nothing for it to see.
    """
    with _disable_current_modes():
        yield
