"""Checks that the values of stages share: counts and quantities."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isfinite

from toolkit.errors import PlanError

Number = float | Fraction
"""A time, a cost or a size. Fractions are computed with exactly."""


def check_counts(**counts: int) -> None:
    """Refuse a count that is not an int of at least 1.

    Example:
        >>> check_counts(stages=0)
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: stages=0: must be an int of at least 1.
    """
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise PlanError(f"{name}={value!r}: must be an int of at least 1.")


def check_quantities(name: str, values: Sequence[Number], count: int, each: str, positive: bool = False) -> None:
    """Refuse quantities that are not one for each of ``count`` things, finite, and at least (or above) 0.

    Example:
        >>> check_quantities("costs", [1.0, 2.0], 3, "layer")
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
