"""Ghosts: stand-ins for the layers of other stages while a transformer runs its own forward.

A ghost costs nothing and returns what the layer would, in structure, shape and dtype, filled with NaN:

    layer   forward(hidden_states, encoder_hidden_states, temb) -> (encoder_hidden_states, hidden_states)
    ghost   forward(hidden_states, encoder_hidden_states, temb) -> (NaN like encoder..., NaN like hidden...)

It need not compute anything, because a layer's results have the shapes of the arguments that it updates. Which of its
parameters a layer returns is read off the source of its class.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.errors import ModelError
from toolkit.models.module_compat import copy_without_hooks
from toolkit.models.transformers.layers import forward_of
from toolkit.models.transformers.transformer_entry import Names
from toolkit.models.transformers.transformer_table import part_of
from toolkit.numerics.tensor_compat import tree_map_only


def stand_in(module: nn.Module, forward: Callable[..., Any]) -> Any:
    """Make a shallow copy of a module that shares all it has, and whose call is ``forward`` and nothing else.

    Attributes, sub-modules and the class stay readable. Hooks and compiled calls of the original do not run.

    Args:
        module: The module to stand in for; it is not changed.
        forward: What a call of the copy does.

    Example:
        >>> linear = nn.Linear(2, 3)
        >>> double = stand_in(linear, lambda x: 2 * x)
        >>> double(torch.ones(2)), double.out_features, double.weight is linear.weight
        (tensor([2., 2.]), 3, True)
    """
    twin: Any = copy_without_hooks(module)
    # On the instance, past nn.Module.__setattr__: it hides the class's forward in this copy alone.
    vars(twin)["forward"] = forward
    return twin


def ghost(block: nn.Module) -> nn.Module:
    """Make a stand-in that returns, at no cost, what the block would: the same structure and shapes, filled with NaN.

    Nothing may depend on these values, because what a stage receives takes their place. NaN, rather than the block's
    own arguments, shows if something does. The tensors take no memory, and keep no argument alive.

    Raises:
        ModelError: If what the block returns cannot be read.
    """
    names, signature = returned(block)

    def forward(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return _build(names, bound.arguments)

    return stand_in(block, forward)


def returned(block: nn.Module) -> tuple[Names, inspect.Signature]:
    """Read which of its parameters a block returns, and its call's signature, off the source of its class.

    Raises:
        ModelError: If its return statements name no parameters.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> returned(transformer("Flux").build().transformer_blocks[0])[0]
        ('encoder_hidden_states', 'hidden_states')
    """
    cls: Any = type(block)
    names, signature = _returned(cls)
    if isinstance(names, str) and names not in signature.parameters:
        # ``return self.block(...)``: the name is a child's, which gets the same arguments by keyword.
        return returned(block.get_submodule(names))[0], signature
    return names, signature


# Classes do not change, and every stage of every call asks: the answers are kept per class.
@lru_cache
def _returned(cls: type[nn.Module]) -> tuple[Names, inspect.Signature]:
    signature = inspect.signature(inspect.unwrap(cls.forward))
    signature = signature.replace(parameters=list(signature.parameters.values())[1:])  # less self
    part = part_of(cls)
    if part is not None and part.returns is not None:
        return part.returns, signature
    found = [names for value in _returns(forward_of(cls)) if (names := _names(value, set(signature.parameters)))]
    if not found:
        raise ModelError(
            f"{cls.__name__} cannot stand at a stage's border: its return statement names none of its parameters, so "
            "its stand-in does not know what to return. Let its forward end in a return of names, or give it an entry "
            "in toolkit.models.transformers.transformer_table."
        )
    # The last return is that of the ordinary way through; earlier ones leave for special cases.
    return found[-1], signature


def _names(value: ast.expr, parameters: set[str]) -> Names | None:
    """Return the parameters that a returned expression names; None if it is anything but names."""
    match value:
        case ast.Name(id=name) if name in parameters:
            return name
        case ast.Tuple(elts=elements):
            names = tuple(_names(element, parameters) for element in elements)
            return None if None in names else names  # type: ignore[return-value]
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name), args=[]):
            return name  # a block within the block, called by keywords: it returns what that does
    return None


def _returns(node: ast.AST) -> Iterator[ast.expr]:
    """Go through the values of a function's return statements, leaving out functions within it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Return) and child.value is not None:
            yield child.value
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            yield from _returns(child)


def _build(names: Names, arguments: Mapping[str, Any]) -> Any:
    if isinstance(names, tuple):
        return tuple(_build(name, arguments) for name in names)
    return tree_map_only(Tensor, _hollow, arguments[names])


def _hollow(tensor: Tensor) -> Tensor:
    """Return NaN in a tensor's shape on the memory of one element; integers and masks as they are."""
    if not tensor.is_floating_point():
        return tensor  # there is no NaN for them, and forward may branch on their values
    return torch.full((), torch.nan, dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)
