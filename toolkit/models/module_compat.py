"""Private names of ``torch.nn.Module``, each behind a function of ours.

What a module keeps in ``__dict__`` (children, parameters, hooks, a compiled call) has no public way in for some things
that stages need. A new release of torch that renames an attribute breaks this file and its test, and nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def copy_without_hooks(module: Module) -> Module:
    """Make a shallow copy that shares parameters and children, and whose call runs its ``forward`` and nothing else.

    The reason for the private ``_forward_*`` and ``_backward_*`` tables and ``_compiled_call_impl``: hooks and a
    compiled call run around ``forward``, and torch offers no way to drop those that somebody else registered. If they
    stayed, a stand-in for a layer would run the layer's offload hooks, or the compiled layer itself.

    Example:
        >>> linear = nn.Linear(2, 2)
        >>> handle = linear.register_forward_hook(lambda *_: 1 / 0)
        >>> import torch
        >>> copy_without_hooks(linear)(torch.ones(2)).shape
        torch.Size([2])
    """
    twin = copy.copy(module)
    # The tables of a new module are empty and of the right types, whichever of them this torch has.
    empty = {name: table for name, table in vars(nn.Module()).items() if name.startswith(("_forward", "_backward"))}
    vars(twin).update(empty, _compiled_call_impl=None)
    return twin


def copy_with_own_children(module: Module) -> Module:
    """Make a shallow copy whose children can be replaced without touching the original's.

    The reason for the private ``_modules``: ``copy.copy`` shares this table between original and copy, so assigning
    a child to the copy would change the original too.

    Example:
        >>> pair = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> twin = copy_with_own_children(pair)
        >>> twin[1] = nn.Identity()
        >>> pair[1], twin[0] is pair[0]
        (ReLU(), True)
    """
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


def copy_with_own_parameters(module: Module) -> Module:
    """Make a shallow copy whose parameters can be replaced without touching the original's.

    The reason for the private ``_parameters``: as for children above, ``copy.copy`` shares this table.

    Example:
        >>> linear = nn.Linear(2, 2)
        >>> twin = copy_with_own_parameters(linear)
        >>> twin.weight = nn.Parameter(linear.weight[:1])
        >>> linear.weight.shape, twin.bias is linear.bias
        (torch.Size([2, 2]), True)
    """
    twin = copy.copy(module)
    twin._parameters = dict(module._parameters)
    return twin


def put_parameter_first(module: nn.Module, name: str, *, parameter: nn.Parameter) -> None:
    """Register a parameter ahead of all others that the module has.

    The reason for the private ``_parameters``: ``register_parameter`` appends, but pipelines take a model's device
    from its *first* parameter, and for a model without weights that must be a real one.
    """
    module._parameters = {name: parameter, **module._parameters}


def map_tensors(module: Module, function: Callable[[Tensor], Tensor]) -> Module:
    """Replace every parameter and buffer by a function of it, in place, and return the module.

    The reason for the private ``_apply``: ``Module.to`` is the only public way and raises for a module that is partly
    on the meta device. ``_apply`` also keeps tied parameters tied.
    """
    mapped: Module = module._apply(function)
    return mapped


def is_compiled(module: nn.Module) -> bool:
    """Whether calls of a module run compiled code: by ``module.compile()``, or as what ``torch.compile`` returned.

    The reason for the private ``_compiled_call_impl`` and ``_orig_mod``: torch has no public question for it, and a
    compiled call cannot be left in the middle, nor does it notice when a child is replaced.

    Example:
        >>> linear = nn.Linear(2, 2)
        >>> linear.compile(backend="eager")
        >>> is_compiled(linear), is_compiled(nn.Linear(2, 2))
        (True, False)
    """
    return hasattr(module, "_orig_mod") or module._compiled_call_impl is not None


def original(module: Any) -> Any:
    """The module inside what ``torch.compile`` returned for it; anything else is returned as it is.

    The reason for the private ``_orig_mod``: torch has no public way back. The wrapper shares the module's weights and
    passes on its attributes, so it must not be asked for more than this one, and only if it is a wrapper.

    Example:
        >>> import torch
        >>> linear = nn.Linear(2, 2)
        >>> original(torch.compile(linear, backend="eager")) is linear, original(linear) is linear
        (True, True)
    """
    return vars(module)["_modules"]["_orig_mod"] if type(module).__name__ == "OptimizedModule" else module


def is_compiled_function(function: Any) -> bool:
    """Whether ``torch.compile`` returned a function, as in ``vae.decode = torch.compile(vae.decode)``.

    The reason for the private ``_torchdynamo_orig_callable``: compiled functions have no class of their own.

    Example:
        >>> import torch
        >>> is_compiled_function(torch.compile(print, backend="eager")), is_compiled_function(print)
        (True, False)
    """
    return hasattr(function, "_torchdynamo_orig_callable")


def forward_hooks(module: nn.Module) -> list[Callable[..., Any]]:
    """The hooks that run before or after a module's ``forward``.

    The reason for the private ``_forward_hooks`` and ``_forward_pre_hooks``: nothing public lists hooks.

    Example:
        >>> linear = nn.Linear(2, 2)
        >>> handle = linear.register_forward_pre_hook(print)
        >>> forward_hooks(linear)
        [<built-in function print>]
    """
    return [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]


def has_forward_hooks(module: nn.Module) -> bool:
    """Whether hooks run before or after a module's ``forward``.

    One that expects the whole of a tensor would see a part of it once the module's weights are divided.
    """
    return bool(forward_hooks(module))
