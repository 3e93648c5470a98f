"""Contiguous partitions of a row of layers: the slowest part as fast as it can be, no part over its cap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from math import inf, nextafter

from toolkit.errors import PlanError
from toolkit.geometry.checks import Number

Bounds = tuple[int, ...]
Weigh = Callable[[int, int, int], Fraction | None]
"""Weight of part ``k`` where it holds ``start <= layer < stop``; None where it may not."""


def balanced_bounds(
    costs: Sequence[Number], speeds: Sequence[Number], memory: Sequence[Number], caps: Sequence[Number]
) -> Bounds:
    """Bounds of the partition whose slowest part takes the least time.

    Among the partitions that reach this time, the one with the least sum of squared times, so that the faster parts are
    even too; among equals, the one whose first parts are longest. Sums are exact: no tie hangs on a rounding.

    Args:
        costs: cost of each layer.
        speeds: of each part; its time is its cost over its speed.
        memory: what each layer holds.
        caps: the most that each part may hold.

    Raises:
        PlanError: where no partition keeps under the caps.

    Example:
        >>> balanced_bounds([1] * 6, speeds=[1, 2], memory=[1] * 6, caps=[6, 6])
        (0, 2, 6)
        >>> balanced_bounds([1] * 6, speeds=[1, 2], memory=[1] * 6, caps=[6, 3])
        (0, 3, 6)
    """
    layers, parts = len(costs), len(speeds)
    work, held = _sums(costs), _sums(memory)
    speed, cap = _exact(speeds), _exact(caps)

    def time(k: int, start: int, stop: int) -> Fraction | None:
        return (work[stop] - work[start]) / speed[k] if held[stop] - held[start] <= cap[k] else None

    bounds = _best(layers, parts, time, max)
    if bounds is None:
        raise PlanError(_over_the_cap(memory, caps))
    slowest = max(_weights(bounds, time))

    def square(k: int, start: int, stop: int) -> Fraction | None:
        value = time(k, start, stop)
        return None if value is None or value > slowest else value * value

    return _best(layers, parts, square, lambda one, other: one + other) or bounds


def _best(layers: int, parts: int, weigh: Weigh, join: Callable[[Fraction, Fraction], Fraction]) -> Bounds | None:
    """The partition of least joined weight, by dynamic programming from the last part to the first."""
    # best[start]: least joined weight of the layers from start on in the parts from k on, and where part k ends.
    best: dict[int, tuple[Fraction, Bounds]] = {layers: (Fraction(0), (layers,))}
    for k in reversed(range(parts)):
        longer: dict[int, tuple[Fraction, Bounds]] = {}
        for start in range(k, layers - (parts - k) + 1) if k else (0,):
            for stop in range(layers, start, -1):
                if stop in best and (weight := weigh(k, start, stop)) is not None:
                    joined = join(weight, best[stop][0])
                    if start not in longer or joined < longer[start][0]:
                        longer[start] = joined, (start, *best[stop][1])
        best = longer
    return best[0][1] if 0 in best else None


def _weights(bounds: Bounds, weigh: Weigh) -> list[Fraction]:
    found = (weigh(k, *span) for k, span in enumerate(pairwise(bounds)))
    return [weight for weight in found if weight is not None]


def _over_the_cap(memory: Sequence[Number], caps: Sequence[Number]) -> str:
    """Says by how much the caps are too low, and what would do."""
    layers, parts, held = len(memory), len(caps), _sums(memory)
    whole, largest = f"{layers} layers, {_shown(held[-1])} in all,", max(_exact(memory))
    if len(set(caps)) > 1:
        most = " + ".join(map(_shown, _exact(caps)))
        return f"cap={most}: no split of {whole} keeps under it; raise it."

    def needed(k: int, start: int, stop: int) -> Fraction:
        return held[stop] - held[start]

    bounds = _best(layers, parts, needed, max) or (0, layers)
    least, cap = max(_weights(bounds, needed)), Fraction(caps[0])
    remedy = f"raise cap to {_shown(least)}"
    if largest > cap:
        remedy += f" (one layer alone needs {_shown(largest)})"
    elif (enough := _fewest(memory, cap)) <= layers:
        remedy += f", or use {enough} stages"
    return f"cap={_shown(cap)}: {whole} do not fit {parts} stages: the best split needs {_shown(least)}; {remedy}."


def _fewest(memory: Sequence[Number], cap: Fraction) -> int:
    """Parts needed where no layer is over the cap: fill each before the next is begun."""
    parts, held = 1, Fraction(0)
    for size in _exact(memory):
        parts, held = (parts, held + size) if held + size <= cap else (parts + 1, size)
    return parts


def _sums(values: Sequence[Number]) -> list[Fraction]:
    return list(accumulate(_exact(values), initial=Fraction(0)))


def _shown(value: Fraction) -> str:
    """The value, or the next float above it: what is given as enough is enough."""
    if value.denominator == 1:
        return str(value)
    near = float(value)
    return repr(near if Fraction(near) >= value else nextafter(near, inf))


def _exact(values: Sequence[Number]) -> list[Fraction]:
    return [Fraction(value) for value in values]
