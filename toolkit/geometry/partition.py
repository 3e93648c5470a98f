"""Split layers into contiguous parts so that the slowest part is as fast as possible and no part exceeds its cap."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from math import inf, lcm, nextafter

from toolkit.errors import PlanError
from toolkit.geometry.checks import Number, as_fraction
from toolkit.geometry.part_loads import Loads

Bounds = tuple[int, ...]


def balanced_bounds(
    costs: Sequence[Number], speeds: Sequence[Number], *, memory: Sequence[Number], caps: Sequence[Number]
) -> Bounds:
    """The bounds of the partition whose slowest part takes the least time.

    Several partitions may have the same slowest time. Of these, the one with the smallest sum of squared times is
    chosen, so that the other parts are even too; of those, the one whose first parts are longest. All sums are exact,
    so rounding never decides a tie.

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
    inverse = [1 / as_fraction(speed) for speed in speeds]
    work, factors, held = _whole(costs), _whole(inverse), _whole([*memory, *caps])
    loads = Loads(work, factors, memory=held[: len(costs)], caps=held[len(costs) :])
    # Two passes: the first finds the least possible slowest time. The second admits only parts that do not exceed it
    # and minimises the sum of squares. One pass could not do both: the best tail for one goal is not the best for the
    # other.
    slowest = loads.least_limit()
    if slowest is None:
        raise PlanError(_over_the_cap(memory, caps))
    return _most_even(loads, slowest)


def _most_even(loads: Loads, slowest: int) -> Bounds:
    """Of the partitions with no part slower than ``slowest``, the one with the least sum of squared times.

    Dynamic programming from the last part to the first. Only places where a part can begin in a whole partition are
    looked at, and these are few where the parts are nearly even.
    """
    starts = loads.starts(slowest)
    tails = [0]
    chosen: list[dict[int, int]] = []
    for k in reversed(range(loads.parts)):
        tails, ends = _before(loads, k, starts[k], starts[k + 1], tails=tails, slowest=slowest)
        chosen.append(dict(zip(starts[k], ends, strict=True)))
    bounds = [0]
    for stop_of in reversed(chosen):
        bounds.append(stop_of[bounds[-1]])
    return tuple(bounds)


def _before(
    loads: Loads, k: int, starts: Sequence[int], stops: Sequence[int], *, tails: Sequence[int], slowest: int
) -> tuple[list[int], list[int]]:
    """The least sum of squares from each start of part ``k`` on, and where the part then ends.

    The best end never comes earlier from a later start, because squares of sums satisfy the quadrangle inequality. So
    the start in the middle halves the ends that are left for the starts on either side.
    """
    work, square = [loads.work[stop] for stop in stops], loads.factors[k] ** 2
    least, ends = [0] * len(starts), [0] * len(starts)
    pending = [(0, len(starts), 0, len(stops))]
    while pending:
        first, last, low, high = pending.pop()
        if first == last:
            continue
        middle = (first + last) // 2
        start = starts[middle]
        before = loads.work[start]
        nearest = max(low, bisect_right(stops, start))
        furthest = min(high, bisect_right(stops, loads.furthest(k, start, slowest))) - 1
        value, place = (work[furthest] - before) ** 2 * square + tails[furthest], furthest
        # Longest part first, and only a strictly better one replaces it: of equals, the first part is longest.
        for index in range(furthest - 1, nearest - 1, -1):
            time = work[index] - before
            joined = time * time * square + tails[index]
            if joined < value:
                value, place = joined, index
        least[middle], ends[middle] = value, stops[place]
        pending += [(first, middle, low, place + 1), (middle + 1, last, place, high)]
    return least, ends


def _over_the_cap(memory: Sequence[Number], caps: Sequence[Number]) -> str:
    """The error message: how far the caps are too low, and what would be enough."""
    layers, parts, held = len(memory), len(caps), [as_fraction(size) for size in memory]
    whole, largest = f"{layers} layers, {_shown(sum(held, Fraction(0)))} in all,", max(held)
    if len(set(caps)) > 1:
        most = " + ".join(_shown(as_fraction(cap)) for cap in caps)
        return f"cap={most}: no split of {whole} stays within these caps; raise them."
    unit = lcm(*(size.denominator for size in held))
    least = Fraction(Loads(_whole(held), [1] * parts).least_limit() or 0, unit)
    cap = as_fraction(caps[0])
    remedy = f"raise cap to {_shown(least)}"
    if largest > cap:
        remedy += f" (one layer alone needs {_shown(largest)})"
    elif (enough := _fewest(held, cap)) <= layers:
        remedy += f", or use {enough} stages"
    return f"cap={_shown(cap)}: {whole} do not fit into {parts} stages. The best split needs {_shown(least)}; {remedy}."


def _fewest(memory: Sequence[Fraction], cap: Fraction) -> int:
    """The number of parts needed if no single layer exceeds the cap: fill each part before starting the next."""
    parts, held = 1, Fraction(0)
    for size in memory:
        parts, held = (parts, held + size) if held + size <= cap else (parts + 1, size)
    return parts


def _shown(value: Fraction) -> str:
    """The value as text. Rounds up if it is no exact float, so that the number shown is always enough."""
    if value.denominator == 1:
        return str(value)
    near = float(value)
    return repr(near if Fraction(near) >= value else nextafter(near, inf))


def _whole(values: Sequence[Number]) -> list[int]:
    """The values as integers, all in the largest unit in which they are whole: sums of integers are exact and quick."""
    exact = [as_fraction(value) for value in values]
    unit = lcm(*(value.denominator for value in exact))
    return [int(value * unit) for value in exact]
