"""Checks that the values of plans share: integers, choices and quantities."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from fractions import Fraction
from math import inf, nan
from numbers import Integral, Rational, Real
from typing import Any

from toolkit.errors import PlanError

Number = float | Fraction
"""A time, a cost or a size. Fractions are computed with exactly."""

MOST_PARTS = 2**20
"""The most ranks, tiles, stages, layers or requests that a plan can have. A plan has a Python object for each of them,
so this many take seconds; no machine has as many devices, and no model as many layers."""

MOST_CELLS = 2**40
"""The most cells along one axis, and the largest integer of any kind: no device holds a row of that many numbers."""

MOST_QUANTITY = 1e100
"""The largest time, cost or size: sums and squares of such numbers are still finite floats."""


def shown(value: object, *, most: int = 100) -> str:
    """A value for a message: its repr, cut where it is long.

    Example:
        >>> shown([1, 2, 3]), shown("x" * 200, most=6)
        ('[1, 2, 3]', "'xx...")
    """
    try:
        text = repr(value)
    except Exception:  # somebody else's __repr__, or an int of thousands of digits: the refusal matters more
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def is_int(value: object) -> bool:
    """Whether a value is an int; ``True`` and ``False`` are not.

    Example:
        >>> is_int(3), is_int(True), is_int(3.0)
        (True, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool)


def as_int(value: Any) -> Any:
    """An integer of another library, such as NumPy's in a table, as an int; anything else as it is.

    Example:
        >>> as_int(3), as_int(True), as_int("3")
        (3, True, '3')
    """
    return value if isinstance(value, bool) or not isinstance(value, Integral) else int(value)


def is_number(value: object) -> bool:
    """Whether a value is a real number, NumPy's included; ``True`` and ``False`` are not.

    Example:
        >>> is_number(3), is_number(0.5), is_number(True), is_number("3")
        (True, True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def as_fraction(value: Any) -> Fraction:
    """A real number, NumPy's included, as the fraction that it is.

    Example:
        >>> as_fraction(0.5), as_fraction(Fraction(1, 3))
        (Fraction(1, 2), Fraction(1, 3))
    """
    return Fraction(as_int(value) if isinstance(value, Rational) else float(value))


def check_ints(least: int, /, *, most: int = MOST_CELLS, **values: object) -> None:
    """Refuse a value that is not an int of at least ``least`` and at most ``most``.

    Example:
        >>> check_ints(0, overlap=-1)
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: overlap=-1: must be an int of at least 0.
    """
    for name, value in values.items():
        if not is_int(value) or value < least:  # type: ignore[operator]
            raise PlanError(f"{name}={shown(value)}: must be an int of at least {least}.")
        if value > most:  # type: ignore[operator]
            raise PlanError(f"{name}={shown(value)}: must be an int of at least {least} and at most {most}.")


def check_counts(**counts: object) -> None:
    """Refuse a number of parts, such as ranks or stages, that is not an int from 1 to :data:`MOST_PARTS`.

    Example:
        >>> check_counts(stages=0)
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: stages=0: must be an int of at least 1.
        >>> check_counts(ranks=10**9)
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: ranks=1000000000: must be an int of at least 1 and at most 1048576.
    """
    check_ints(1, most=MOST_PARTS, **counts)


def check_parts(parts: int, *, what: str) -> None:
    """Refuse a plan whose counts are possible one by one but multiply to more than :data:`MOST_PARTS`.

    Example:
        >>> check_parts(3_000_000, what="h=1000 x w=3000 shards")
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: h=1000 x w=3000 shards: a plan has at most 1048576 parts, not 3000000. Use fewer.
    """
    if parts > MOST_PARTS:
        raise PlanError(f"{what}: a plan has at most {MOST_PARTS} parts, not {parts}. Use fewer.")


def check_rank(name: str, value: object, *, ranks: int) -> None:
    """Refuse a rank that is not one of a plan's.

    Example:
        >>> check_rank("root", 2, ranks=2)
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: root=2: must be one of the plan's 2 ranks, 0..1.
    """
    if not is_int(value) or not 0 <= value < ranks:  # type: ignore[operator]
        raise PlanError(f"{name}={shown(value)}: must be one of the plan's {ranks} ranks, 0..{ranks - 1}.")


def check_kind(name: str, value: object, *, kind: type, remedy: str) -> None:
    """Refuse a value of another class.

    Example:
        >>> check_kind("grid", 3, kind=dict, remedy="a TileGrid, such as TileGrid.cover(...) returns")
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: grid=3: must be a TileGrid, such as TileGrid.cover(...) returns.
    """
    if not isinstance(value, kind):
        raise PlanError(f"{name}={shown(value)}: must be {remedy}.")


def check_extent(extent: object) -> None:
    """Refuse an extent that does not give sizes by axis; the sizes are not looked at.

    Example:
        >>> check_extent((60, 104))
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: extent=(60, 104): must be a dict of axis names and sizes, as {'h': 60, 'w': 104}.
    """
    if not isinstance(extent, Mapping):
        raise PlanError(f"extent={shown(extent)}: must be a dict of axis names and sizes, as {{'h': 60, 'w': 104}}.")


def check_choice(name: str, value: object, *, choices: Iterable[str]) -> None:
    """Refuse a value that is not one of a few words.

    Example:
        >>> check_choice("ramp", "cubic", choices=("linear", "cosine"))
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: ramp='cubic': must be one of linear, cosine.
    """
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise PlanError(f"{name}={shown(value)}: must be one of {', '.join(choices)}.")


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
        raise PlanError(f"{name}={shown(value)}: must be a tuple of {what}.")


def check_quantities(name: str, values: Sequence[Number], *, count: int, each: str, positive: bool = False) -> None:
    """Refuse quantities that are not finite numbers of at least 0 (or above 0), one for each of ``count`` things.

    Example:
        >>> check_quantities("costs", [1.0, 2.0], count=3, each="layer")
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: costs has 2 values: give 3, one for each layer.
    """
    check_collection(name, values, what=f"numbers, one for each {each}")
    if len(values) != count:
        raise PlanError(f"{name} has {len(values)} values: give {count}, one for each {each}.")
    for index, value in enumerate(values):
        check_quantity(f"{name}[{index}]", value, positive=positive)


def check_quantity(name: str, value: object, *, positive: bool = False) -> None:
    """Refuse a value that is not a finite number of at least 0 (or above 0).

    Example:
        >>> check_quantity("hop", float("nan"))
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: hop=nan: must be a finite number of at least 0.
    """
    size = _as_float(value)
    if not 0 <= size <= MOST_QUANTITY or (positive and size == 0):
        rule = "above 0" if positive else "of at least 0"
        limit = f" and at most {MOST_QUANTITY:g}" if size > MOST_QUANTITY else ""
        raise PlanError(f"{name}={shown(value)}: must be a finite number {rule}{limit}.")


def _as_float(value: object) -> float:
    """A number as a float, infinity if it is too large for one; NaN for anything else."""
    try:
        return float(value) if is_number(value) else nan  # type: ignore[arg-type]
    except OverflowError:
        return inf


def has_items(value: object) -> bool:
    """Whether a value can be gone through. An array of NumPy or torch without axes only looks so.

    Example:
        >>> has_items([]), has_items(3)
        (True, False)
    """
    return isinstance(value, Iterable) and getattr(value, "ndim", 1) != 0


def check_collection(name: str, values: object, *, what: str) -> None:
    """Refuse anything that is not a list, a tuple or an array: words, mappings, sets and things without a length.

    Example:
        >>> check_collection("costs", 5, what="numbers, one for each layer")
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: costs=5: must be a list of numbers, one for each layer.
    """
    if not (isinstance(values, Collection) and has_items(values)) or isinstance(values, str | bytes | Mapping | Set):
        raise PlanError(f"{name}={shown(values)}: must be a list of {what}.")
