"""Packages whose names load when they are first used (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any


def lazy(
    package: str, names: Mapping[str, str], subpackages: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The module-level ``__getattr__`` and ``__dir__`` of a package that loads its names on first use.

    ``import toolkit`` then costs nothing but this table, and a worker that decodes never loads what figures need.

    Args:
        package: The package's name.
        names: Its public names, each with the module that defines it.
        subpackages: Packages below it that ``package.name`` reaches without an import of their own.

    Example:
        >>> load, listed = lazy("toolkit.geometry", {"Span": "toolkit.geometry.span"})
        >>> load("Span")(0, 4), listed()
        (0:4, ['Span'])
    """
    below = frozenset(subpackages)

    def load(name: str) -> Any:
        if name in names:
            try:
                value = getattr(import_module(names[name]), name)
            except AttributeError:
                # A submodule such as toolkit.models.demo is an attribute of its package only once it is imported.
                value = import_module(f"{names[name]}.{name}")
            setattr(sys.modules[package], name, value)
            return value
        if name in below:
            return import_module(f"{package}.{name}")
        close = get_close_matches(name, [*names, *below], n=1)
        hint = f": did you mean {close[0]}?" if close else ""
        raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}", name=name, obj=sys.modules[package])

    return load, lambda: sorted({*names, *below})
