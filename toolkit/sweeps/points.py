"""The points of a sweep: the arguments of a call, how they are shown, and how they are recognised later."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import numpy as np

from toolkit.errors import PlanError
from toolkit.geometry.checks import has_items, shown
from toolkit.sweeps.source import source

Shown = None | bool | int | float | str
RESERVED = ("status", "error", "took", "when", "starts", "version", "record", "code")
"""Columns that every sweep's table has, so parameters and measures cannot use their names."""
MOST_POINTS = 10**6
"""The most points of a sweep. All are made before the first runs, and this many take about a minute."""
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}")


@dataclass(frozen=True)
class Value:
    """One value of one parameter.

    Attributes:
        given: The value that the function receives.
        shown: The value in the table.
        identity: Text that tells the value from others, in any process.
    """

    given: Any
    shown: Shown
    identity: str

    @classmethod
    def make(cls, name: str, given: Any, *, label: str | None = None) -> Value:
        """A value of the parameter ``name``.

        Raises:
            PlanError: If the value's text differs between processes.
        """
        expression = source(given)
        if label is not None:
            return cls(given, label, json.dumps([label, expression and expression.text]))
        if isinstance(given, np.generic):
            given = given.item()
        plain = isinstance(given, bool | int | float | str | None)
        text = expression.text if expression else repr(given)
        if expression is None and _ADDRESS.search(text):
            raise PlanError(
                f"{name}={text[:80]}: this value prints its memory address, which changes with every process, so the "
                f"sweep could not be resumed. Name the values, {name}={{'a name': value}}, or use a dataclass."
            )
        return cls(given, given if plain else _short(given, text), text)


@dataclass(frozen=True)
class Point:
    """One call of the function.

    Attributes:
        values: Values by parameter, in the order of the table's columns.
    """

    values: Mapping[str, Value]

    @property
    def given(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {name: value.given for name, value in self.values.items()}

    @property
    def shown(self) -> dict[str, Shown]:
        """The cells of its row."""
        return {name: value.shown for name, value in self.values.items()}

    @cached_property
    def key(self) -> str:
        """A key that is the same for equal points, whatever the order of their parameters."""
        said = json.dumps(sorted((name, value.identity) for name, value in self.values.items()))
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    def __repr__(self) -> str:
        return ", ".join(f"{name}={value.shown}" for name, value in self.values.items())


def points_of(space: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[Point]:
    """The points of a grid, with the last parameter varying fastest, or of a list.

    Args:
        space: Values by parameter; or a list of points, each with all parameters. Named values, ``{"vae": {"small": a,
            "large": b}}``, are shown and recognised by their names.

    Raises:
        PlanError: If there are no points, two points are equal, two values look the same, or a name is invalid.

    Example:
        >>> points_of({"tile": [12, 18], "overlap": (2, 4)})
        [tile=12, overlap=2, tile=12, overlap=4, tile=18, overlap=2, tile=18, overlap=4]
        >>> points_of([{"tile": 12}, {"tile": 12}])
        Traceback (most recent call last):
        toolkit.errors.PlanError: the point tile=12 occurs twice: list each point once.
    """
    check: Any = space  # words are sequences, too
    if isinstance(check, str | bytes) or not has_items(check):
        raise PlanError(f"space={shown(space)}: give values by parameter, or a list of points.")
    if isinstance(space, Mapping):
        _check_size(space)
        axes = {name: values_of(name, values) for name, values in space.items()}
        points = [Point(dict(zip(axes, chosen, strict=True))) for chosen in product(*axes.values())] if axes else []
    else:
        points = [_point(given) for given in space]
    if not points:
        raise PlanError(f"space={space!r} contains no points: give values by parameter, or a list of points.")
    _check(points)
    return points


def _check_size(space: Mapping[str, Any]) -> None:
    """Refuse a grid of more points than can be kept, before it is made."""
    points = prod(len(values) for values in space.values() if isinstance(values, Sized) and has_items(values))
    if points > MOST_POINTS:
        raise PlanError(
            f"the space has {points} points: a sweep has at most {MOST_POINTS}. Give fewer, or a tk.search."
        )


def values_of(name: str, values: Any) -> list[Value]:
    """The values of one parameter of a grid."""
    if isinstance(values, str) or not has_items(values):
        raise PlanError(f"{name}={values!r}: give a list of values, even for a single one: [{values!r}].")
    if isinstance(values, Mapping):
        found = [Value.make(name, given, label=str(label)) for label, given in values.items()]
    else:
        found = [Value.make(name, given) for given in values]
    if not found:
        raise PlanError(f"the parameter {name} has no values: give at least one.")
    return found


def _point(given: Any) -> Point:
    if not isinstance(given, Mapping):
        raise PlanError(f"{given!r} is not a point: each point in a list is a mapping of parameters to values.")
    return Point({name: Value.make(name, value) for name, value in given.items()})


def _check(points: Sequence[Point]) -> None:
    names = list(points[0].values)
    check_names(names)
    identities: dict[tuple[str, str], str] = {}
    seen: set[str] = set()
    for point in points:
        if set(point.values) != set(names):
            raise PlanError(f"the points {points[0]!r} and {point!r} have different parameters: give all to each.")
        if point.key in seen:
            raise PlanError(f"the point {point!r} occurs twice: list each point once.")
        seen.add(point.key)
        for name, value in point.values.items():
            shown = name, str(value.shown)
            if identities.setdefault(shown, value.identity) != value.identity:
                raise PlanError(
                    f"two values of {name} both print as {value.shown}, so a table could not tell them apart. "
                    f"Name them: {name}={{'one': ..., 'other': ...}}."
                )


def check_names(names: Iterable[str]) -> None:
    """Refuse names that cannot be keyword arguments, and names that the table needs itself."""
    names = list(names)
    if not names:
        raise PlanError("a point has no parameters: give each point at least one.")
    for name in names:
        if not isinstance(name, str) or not name.isidentifier():
            raise PlanError(f"{name!r} cannot name a parameter: names must be valid keyword arguments of the function.")
        if name in RESERVED:
            raise PlanError(f"{name!r} is a column of every sweep's table: rename the parameter.")


def _short(value: Any, text: str) -> str:
    """The most readable text for a cell: the name of a function or class, else the value's repr."""
    name = getattr(value, "__qualname__", None)
    if isinstance(name, str):
        return name
    printed = repr(value)
    return text if _ADDRESS.search(printed) else printed
