"""Checks that the values of plans share: integers, choices and quantities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import isfinite

from toolkit.errors import PlanError

Number = float | Fraction
"""A time, a cost or a size. Fractions are computed with exactly."""


def is_int(value: object) -> bool:
    """Whether a value is an int; ``True`` and ``False`` are not.

    Example:
        >>> is_int(3), is_int(True), is_int(3.0)
        (True, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool)


def check_ints(least: int, **values: object) -> None:
    """Refuse a value that is not an int of at least ``least``.

    Example:
        >>> check_ints(0, overlap=-1)
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: overlap=-1: must be an int of at least 0.
    """
    for name, value in values.items():
        if not is_int(value) or value < least:  # type: ignore[operator]
            raise PlanError(f"{name}={value!r}: must be an int of at least {least}.")


def check_counts(**counts: object) -> None:
    """Refuse a count that is not an int of at least 1.

    Example:
        >>> check_counts(stages=0)
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: stages=0: must be an int of at least 1.
    """
    check_ints(1, **counts)


def check_rank(name: str, value: object, *, ranks: int) -> None:
    """Refuse a rank that is not one of a plan's.

    Example:
        >>> check_rank("root", 2, ranks=2)
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: root=2: must be one of the plan's 2 ranks, 0..1.
    """
    if not is_int(value) or not 0 <= value < ranks:  # type: ignore[operator]
        raise PlanError(f"{name}={value!r}: must be one of the plan's {ranks} ranks, 0..{ranks - 1}.")


def check_choice(name: str, value: object, *, choices: Iterable[str]) -> None:
    """Refuse a value that is not one of a few words.

    Example:
        >>> check_choice("ramp", "cubic", choices=("linear", "cosine"))
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: ramp='cubic': must be one of linear, cosine.
    """
    choices = tuple(choices)
    if value not in choices:
        raise PlanError(f"{name}={value!r}: must be one of {', '.join(choices)}.")


def check_tuple(name: str, value: object, *, kind: type, what: str) -> None:
    """Refuse anything that is not a tuple of one kind of thing: values with lists inside could change later.

    Example:
        >>> check_tuple("owners", [0, 1], kind=int, what="ints")
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: owners=[0, 1]: must be a tuple of ints.
    """
    fits = is_int if kind is int else (lambda one: isinstance(one, kind))
    if not isinstance(value, tuple) or not all(map(fits, value)):
        raise PlanError(f"{name}={value!r}: must be a tuple of {what}.")


def check_quantities(name: str, values: Sequence[Number], *, count: int, each: str, positive: bool = False) -> None:
    """Refuse quantities that are not finite numbers of at least 0 (or above 0), one for each of ``count`` things.

    Example:
        >>> check_quantities("costs", [1.0, 2.0], count=3, each="layer")
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: costs has 2 values: give 3, one for each layer.
    """
    if len(values) != count:
        raise PlanError(f"{name} has {len(values)} values: give {count}, one for each {each}.")
    for index, value in enumerate(values):
        if not isfinite(value) or value < 0 or (positive and value == 0):
            rule = "above 0" if positive else "of at least 0"
            raise PlanError(f"{name}[{index}]={value}: must be a finite number {rule}.")
