"""Names of torch that have no public spelling, each behind a function of ours.

Everything private that the toolkit needs of torch's tensors is here, so a new release that moves a name breaks this
file and its test, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils import _pytree

TreeSpec = _pytree.TreeSpec
"""The structure of a tree without its leaves: what :func:`tree_flatten` returns beside them."""

T = TypeVar("T")


def tree_flatten(tree: Any) -> tuple[list[Any], TreeSpec]:
    """Split nested lists, tuples, dicts and output classes into their leaves and their structure.

    The reason for torch's own, private ``_pytree``: diffusers registers its output classes there, so results that a
    model wraps in one are opened too. Without it every payload between stages would have to be a plain tuple.

    Example:
        >>> leaves, spec = tree_flatten({"a": (1, 2), "b": [3]})
        >>> leaves, tree_unflatten([10, 20, 30], spec)
        ([1, 2, 3], {'a': (10, 20), 'b': [30]})
    """
    return _pytree.tree_flatten(tree)


def tree_unflatten(leaves: Iterable[Any], spec: TreeSpec) -> Any:
    """Put leaves back into a structure: the inverse of :func:`tree_flatten`, from the same private module."""
    return _pytree.tree_unflatten(list(leaves), spec)


def tree_leaves(tree: Any) -> list[Any]:
    """List the leaves of nested containers, in the order of :func:`tree_flatten`."""
    return _pytree.tree_leaves(tree)


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to every leaf of nested containers; the containers are made anew."""
    return _pytree.tree_map(function, tree)


def tree_map_only(kind: type[T], function: Callable[[T], Any], tree: Any) -> Any:
    """Apply a function to the leaves of one type; other leaves stay as they are.

    Example:
        >>> tree_map_only(int, lambda x: x + 1, {"a": 1, "b": ("two", 3)})
        {'a': 2, 'b': ('two', 4)}
    """
    return _pytree.tree_map_only(kind, function, tree)


def version_of(tensor: Tensor) -> int:
    """Count the in-place writes to a tensor's memory so far, over all views of it.

    The reason for ``Tensor._version``: autograd keeps this counter and nothing public tells whether a tensor was
    written to. Without it, arguments that change before a deferred call runs, and models that change between runs,
    would go unnoticed. Inference tensors keep no counter; for them this is always 0.

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
    """List the ``TorchFunctionMode`` contexts that this thread is in, the outermost first.

    The reason for ``torch.overrides._get_current_function_mode_stack``: a call that is made later, or on another
    thread, must run under the modes that it was asked for under, and there is no public way to list them.

    Example:
        >>> class Nothing(TorchFunctionMode):
        ...     pass
        >>> with Nothing() as mode:
        ...     function_modes()[-1] is mode
        True
    """
    return list(_get_current_function_mode_stack())


def new_shared_storage(size: int) -> torch.UntypedStorage:
    """A storage of ``size`` bytes in shared memory.

    The reason for torch's private method: the public ``share_memory_()`` first needs ordinary memory of that size and
    copies it. Without it, packing a model would need its size twice.

    Raises:
        RuntimeError: If there is too little shared memory.

    Example:
        >>> new_shared_storage(8).is_shared()
        True
    """
    storage: torch.UntypedStorage = torch.UntypedStorage._new_shared(size)
    return storage
