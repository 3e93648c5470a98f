"""Split layers into contiguous parts so that the slowest part is as fast as possible and no part exceeds its cap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from math import inf, nextafter

from toolkit.errors import PlanError
from toolkit.geometry.checks import Number

Bounds = tuple[int, ...]
Weigh = Callable[[int, int, int], Fraction | None]
"""The weight of part ``k`` if it holds ``start <= layer < stop``; None if that exceeds the part's cap."""


def balanced_bounds(
    costs: Sequence[Number], speeds: Sequence[Number], *, memory: Sequence[Number], caps: Sequence[Number]
) -> Bounds:
    """The bounds of the partition whose slowest part takes the least time.

    Several partitions may have the same slowest time. Of these, the one with the smallest sum of squared times is
    chosen, so that the other parts are even too; of those, the one whose first parts are longest. All sums are exact
    fractions, so rounding never decides a tie.

    Args:
        costs: Cost of each layer.
        speeds: Speed of each part. A part takes its cost divided by its speed.
        memory: Memory of each layer.
        caps: Memory limit of each part.

    Raises:
        PlanError: If no partition stays within the caps.

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

    # Two passes: the first finds the least possible slowest time. The second admits only parts that do not exceed it
    # and minimises the sum of squares. One pass could not do both: the best tail for one goal is not the best for the
    # other.
    bounds = _best(layers, parts, time, max)
    if bounds is None:
        raise PlanError(_over_the_cap(memory, caps))
    slowest = max(_weights(bounds, time))

    def square(k: int, start: int, stop: int) -> Fraction | None:
        value = time(k, start, stop)
        return None if value is None or value > slowest else value * value

    return _best(layers, parts, square, lambda one, other: one + other) or bounds


def _best(layers: int, parts: int, weigh: Weigh, join: Callable[[Fraction, Fraction], Fraction]) -> Bounds | None:
    """The partition with the least combined weight, by dynamic programming from the last part to the first.

    Works because both ways to combine (``max`` and ``+``) never decrease when a tail gets heavier: the best partition
    of the layers from ``start`` on contains the best partition of the layers from its first cut on.
    """
    # best[start] is the best way to put the layers from start on into parts k, k + 1, ...: its weight and its bounds.
    # Before the loop no part is left, so only "no layers" is possible.
    best: dict[int, tuple[Fraction, Bounds]] = {layers: (Fraction(0), (layers,))}
    for k in reversed(range(parts)):
        longer: dict[int, tuple[Fraction, Bounds]] = {}
        # Each of the k parts before needs a layer, and so does each part from k on. Part 0 must start at layer 0.
        for start in range(k, layers - (parts - k) + 1) if k else (0,):
            # Longest part first, and only a strictly better one replaces it: of equals, the first part is longest.
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
    """The error message: how far the caps are too low, and what would be enough."""
    layers, parts, held = len(memory), len(caps), _sums(memory)
    whole, largest = f"{layers} layers, {_shown(held[-1])} in all,", max(_exact(memory))
    if len(set(caps)) > 1:
        most = " + ".join(map(_shown, _exact(caps)))
        return f"cap={most}: no split of {whole} stays within these caps; raise them."

    def needed(k: int, start: int, stop: int) -> Fraction:
        return held[stop] - held[start]

    bounds = _best(layers, parts, needed, max) or (0, layers)
    least, cap = max(_weights(bounds, needed)), Fraction(caps[0])
    remedy = f"raise cap to {_shown(least)}"
    if largest > cap:
        remedy += f" (one layer alone needs {_shown(largest)})"
    elif (enough := _fewest(memory, cap)) <= layers:
        remedy += f", or use {enough} stages"
    return f"cap={_shown(cap)}: {whole} do not fit into {parts} stages. The best split needs {_shown(least)}; {remedy}."


def _fewest(memory: Sequence[Number], cap: Fraction) -> int:
    """The number of parts needed if no single layer exceeds the cap: fill each part before starting the next."""
    parts, held = 1, Fraction(0)
    for size in _exact(memory):
        parts, held = (parts, held + size) if held + size <= cap else (parts + 1, size)
    return parts


def _sums(values: Sequence[Number]) -> list[Fraction]:
    return list(accumulate(_exact(values), initial=Fraction(0)))


def _shown(value: Fraction) -> str:
    """The value as text. Rounds up if it is no exact float, so that the number shown is always enough."""
    if value.denominator == 1:
        return str(value)
    near = float(value)
    return repr(near if Fraction(near) >= value else nextafter(near, inf))


def _exact(values: Sequence[Number]) -> list[Fraction]:
    return [Fraction(value) for value in values]
