"""Ghosts: what stands in for the layers of other stages while a transformer runs its own forward."""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from toolkit.errors import ModelError
from toolkit.models.transformers.layers import forward_of

Names: TypeAlias = "str | tuple[Names, ...]"
"""The parameters that a block returns, in its own order: one, or a tuple of them."""

RETURNS: Mapping[str, tuple[Names, str]] = {
    "ErnieImageSharedAdaLNBlock": ("x", "its return statement holds the last residual sum itself"),
    "Kandinsky6SRTransformerBlock": ("hidden_states", "its return statement holds the last gated sum itself"),
}
"""What a block's class returns where its return statement names no parameters, with the reason."""


def stand_in(module: nn.Module, forward: Callable[..., Any]) -> Any:
    """A shallow copy of a module that shares all it has, and whose call is ``forward`` alone.

    Attributes, sub-modules and the class stay readable; hooks and compiled calls of the original do not run.

    Example:
        >>> linear = nn.Linear(2, 3)
        >>> double = stand_in(linear, lambda x: 2 * x)
        >>> double(torch.ones(2)), double.out_features, double.weight is linear.weight
        (tensor([2., 2.]), 3, True)
    """
    twin = copy.copy(module)
    bare = {name: value for name, value in vars(nn.Module()).items() if name.startswith(("_forward", "_backward"))}
    twin.__dict__.update(bare, forward=forward, _compiled_call_impl=None)
    return twin


def ghost(block: nn.Module) -> nn.Module:
    """A stand-in that returns, at no cost, what the block would: the same structure and shapes, filled with NaN.

    Nothing may depend on these values: what a stage receives takes their place. NaN, rather than the block's own
    arguments, shows where something does. They take no memory, and let go of what the arguments hold.

    Raises:
        ModelError: where what the block returns cannot be read.
    """
    names, signature = returned(block)

    def forward(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return _build(names, bound.arguments)

    return stand_in(block, forward)


def returned(block: nn.Module) -> tuple[Names, inspect.Signature]:
    """Which of its parameters a block returns, and its call's signature, read off the source of its class.

    Raises:
        ModelError: where its return statements name no parameters.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> returned(transformer("Flux").build().transformer_blocks[0])[0]
        ('encoder_hidden_states', 'hidden_states')
    """
    cls: Any = type(block)
    names, signature = _returned(cls)
    if isinstance(names, str) and names not in signature.parameters:
        return returned(block.get_submodule(names))[0], signature
    return names, signature


@lru_cache
def _returned(cls: type[nn.Module]) -> tuple[Names, inspect.Signature]:
    signature = inspect.signature(inspect.unwrap(cls.forward))
    signature = signature.replace(parameters=list(signature.parameters.values())[1:])
    if cls.__name__ in RETURNS:
        return RETURNS[cls.__name__][0], signature
    found = [names for value in _returns(forward_of(cls)) if (names := _names(value, set(signature.parameters)))]
    if not found:
        raise ModelError(
            f"{cls.__name__} cannot stand at a stage's border: its return statement names none of its parameters, so "
            "what stands in for it does not know what to return. Add it to toolkit.models.transformers.ghost.RETURNS."
        )
    return found[-1], signature


def _names(value: ast.expr, parameters: set[str]) -> Names | None:
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
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Return) and child.value is not None:
            yield child.value
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            yield from _returns(child)


def _build(names: Names, arguments: Mapping[str, Any]) -> Any:
    if isinstance(names, tuple):
        return tuple(_build(name, arguments) for name in names)
    return pytree.tree_map_only(Tensor, _hollow, arguments[names])


def _hollow(tensor: Tensor) -> Tensor:
    """NaN in a tensor's shape, on one element's memory; integers and masks as they are."""
    if not tensor.is_floating_point():
        return tensor
    return torch.full((), torch.nan, dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)
