"""Values as Python code: the expression that makes a value again, and the imports that it needs."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch

from toolkit import geometry

PUBLIC = frozenset(geometry.__all__) - {"Plan", "PlanKind"}
"""Names of the geometry that ``import toolkit as tk`` offers too."""


@dataclass(frozen=True, slots=True)
class Source:
    """A Python expression.

    Attributes:
        text: The expression to evaluate.
        imports: Import lines to run before it.
    """

    text: str
    imports: frozenset[str] = frozenset()


def source(value: Any) -> Source | None:
    """The expression that makes an equal value; None if the value does not say how it was made.

    Supports numbers, strings, containers, dataclasses, enumerations, dtypes, devices, paths, and functions and classes
    that can be imported by name.

    Example:
        >>> source((0.5, "linear", geometry.Blend.crop())).text
        "(0.5, 'linear', tk.Blend.crop())"
        >>> source(torch.bfloat16), source(object())
        (Source(text='torch.bfloat16', imports=frozenset({'import torch'})), None)
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, str):
        return Source(repr(value))
    if type(value) is float:
        return Source(repr(value) if math.isfinite(value) else f"float('{value}')")
    if isinstance(value, torch.dtype | torch.device):
        return Source(f"torch.{value!r}".replace("torch.torch.", "torch."), frozenset({"import torch"}))
    if isinstance(value, PurePath):
        return Source(f"Path({str(value)!r})", frozenset({"from pathlib import Path"}))
    if isinstance(value, geometry.Blend):
        return Source(f"tk.{value!r}", frozenset({"import toolkit as tk"}))
    if isinstance(value, Enum):
        return _then(_named(type(value)), f".{value.name}")
    if isinstance(value, type | FunctionType | BuiltinFunctionType | MethodType):
        return _named(value)
    if is_dataclass(value):
        arguments = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        return call(type(value), arguments)
    return _container(value)


def call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Source | None:
    """A call of a function with keyword arguments; None if the function or an argument has no expression.

    Example:
        >>> call(geometry.Span, {"start": 1, "stop": 3}).text
        'tk.Span(start=1, stop=3)'
    """
    name = _named(function)
    parts = [source(value) for value in arguments.values()]
    if name is None or None in parts:
        return None
    given = ", ".join(f"{key}={part.text}" for key, part in zip(arguments, parts, strict=True) if part)
    return Source(f"{name.text}({given})", name.imports.union(*(part.imports for part in parts if part)))


def program(expression: Source | None) -> str | None:
    """An expression preceded by its imports; None if two imports bring the same name.

    Example:
        >>> print(program(source(geometry.Span(1, 3))))
        import toolkit as tk
        <BLANKLINE>
        tk.Span(start=1, stop=3)
    """
    if expression is None:
        return None
    lines = sorted(expression.imports)
    names = [line.rpartition(" ")[2] for line in lines]
    if len(set(names)) < len(names):
        return None
    return "\n".join([*lines, "", expression.text]) if lines else expression.text


def qualified(function: Callable[..., Any]) -> str:
    """A function's module and name; for a callable object, its class's.

    Example:
        >>> qualified(source), qualified(print)
        ('toolkit.sweeps.source.source', 'builtins.print')
    """
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _named(value: Any) -> Source | None:
    """A function or class by the name under which its module holds it."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(value, MethodType) and isinstance(value.__self__, type):
        return _then(_named(value.__self__), f".{value.__name__}")
    if module is None or name is None or not _holds(sys.modules.get(module), name.split("."), value=value):
        return None
    if module.startswith("toolkit.") and name in PUBLIC:
        return Source(f"tk.{name}", frozenset({"import toolkit as tk"}))
    if module in ("builtins", "__main__"):
        return Source(name)
    return Source(name, frozenset({f"from {module} import {name.split('.')[0]}"}))


def _holds(place: Any, names: Iterable[str], *, value: Any) -> bool:
    for name in names:
        place = getattr(place, name, None)
    return place is value


def _then(start: Source | None, rest: str) -> Source | None:
    return None if start is None else Source(start.text + rest, start.imports)


def _container(value: Any) -> Source | None:
    """The expression of a list, tuple, range, set (sorted) or dictionary."""
    if type(value) is range:
        return Source(repr(value))
    if type(value) is dict:
        keys, items = _all(value), _all(value.values())
        if keys is None or items is None:
            return None
        pairs = ", ".join(f"{key.text}: {item.text}" for key, item in zip(keys, items, strict=True))
        return Source(f"{{{pairs}}}", _imports(keys + items))
    brackets: dict[type, str] = {list: "[{}]", tuple: "({})", set: "{{{}}}", frozenset: "frozenset([{}])"}
    parts = _all(value) if type(value) in brackets else None
    if parts is None or (type(value) is set and not parts):
        return None
    texts = [part.text for part in parts]
    if isinstance(value, set | frozenset):
        texts.sort()
    inside = ", ".join(texts) + ("," if type(value) is tuple and len(texts) == 1 else "")
    return Source(brackets[type(value)].format(inside), _imports(parts))


def _all(values: Iterable[Any]) -> list[Source] | None:
    parts = [source(value) for value in values]
    return None if None in parts else [part for part in parts if part]


def _imports(parts: Iterable[Source]) -> frozenset[str]:
    return frozenset[str]().union(*(part.imports for part in parts))
