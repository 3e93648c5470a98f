"""What a plan says to an argument that it does not have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar

from toolkit.errors import PlanError
from toolkit.geometry.checks import shown

_Class = TypeVar("_Class", bound=type)


def known_arguments(plan: _Class) -> _Class:
    """Make a dataclass refuse arguments that it does not have in words that name those that it has.

    Python's own words name the wrong argument only. Who writes ``ShardPlan(ranks=2)`` wants to know what to write.

    Raises:
        PlanError: By the constructor, if a name is none of the class's fields.

    Example:
        >>> from dataclasses import dataclass
        >>> @known_arguments
        ... @dataclass(frozen=True)
        ... class Cut:
        ...     h: int = 1
        ...     w: int = 1
        >>> Cut(h=2)
        Cut(h=2, w=1)
        >>> Cut(ranks=2)
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: Cut(ranks=2): no such argument; it has h, w.
    """
    construct: Callable[..., None] = plan.__init__  # type: ignore[misc]  # this very class's, which dataclass made
    names = [field.name for field in fields(plan) if field.init]

    @wraps(construct)
    def checked(self: Any, *values: Any, **named: Any) -> None:
        for name, value in named.items():
            if name not in names:
                raise PlanError(f"{plan.__name__}({name}={shown(value)}): no such argument; it has {', '.join(names)}.")
        construct(self, *values, **named)

    plan.__init__ = checked  # type: ignore[misc]
    return plan
