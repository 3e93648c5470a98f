"""Estimating an operator in a shape that was not measured, from shapes that were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from toolkit.planning.rehearsing.work import Work

APART = 1.5
"""How many times more work one shape must be than another to tell how the time grows with it."""

CALL = 2e-5
"""Seconds of a call that does hardly any work: calling takes all of it, so it says nothing of larger ones."""


class Measured(NamedTuple):
    """A measured call of the same operator.

    Attributes:
        key: The call as text.
        work: Its work.
        seconds: Its time.
        bytes: The most that it allocates.
    """

    key: str
    work: Work
    seconds: float
    bytes: int

    def tells_of(self, work: Work) -> bool:
        """Whether the time and memory of other work can be taken from this."""
        return self.seconds > CALL or work.ratio(self.work) < APART


def estimate(key: str, work: Work, known: Sequence[Measured]) -> tuple[float, int]:
    """The time and memory of a call, from measured calls of the same operator in other shapes.

    Calls that share the most arguments, such as a convolution's weights, tell the most. Of these, two of different size
    tell what a call costs at least and how that grows with the work; one alone is scaled by the work.

    Args:
        key: The call as text.
        work: Its work.
        known: At least one measured call of the operator.

    Example:
        >>> small, large = Work(0, 100), Work(0, 200)
        >>> known = [Measured("f(float32[2])", small, 2.0, 50), Measured("f(float32[4])", large, 3.0, 100)]
        >>> estimate("f(float32[40])", Work(0, 2000), known)
        (21.0, 1000)
        >>> estimate("f(float32[40])", Work(0, 2000), known[:1])
        (40.0, 1000)
    """
    wanted = _arguments(key)
    shared = [sum(a == b for a, b in zip(wanted, _arguments(one.key), strict=False)) for one in known]
    like = [one for one, count in zip(known, shared, strict=True) if count == max(shared)]
    nearest = min(like, key=lambda one: work.distance(one.work))
    ratio = work.ratio(nearest.work)
    others = [one for one in like if nearest.work.ratio(one.work) >= APART or one.work.ratio(nearest.work) >= APART]
    seconds = nearest.seconds * ratio
    if others:
        other = min(others, key=lambda one: nearest.work.distance(one.work))
        # In units of the nearest one's work.
        slope = (nearest.seconds - other.seconds) / (1 - other.work.ratio(nearest.work))
        straight = nearest.seconds + slope * (ratio - 1)
        # A machine that was busy for a moment can turn the line around.
        seconds = straight if slope > 0 and straight > 0 else seconds
    return seconds, int(nearest.bytes * ratio)


def _arguments(key: str) -> list[str]:
    """The arguments of a call as text; what stands in brackets is one.

    Example:
        >>> _arguments("aten.pad(float32[2,3], [1, 1], value=0)")
        ['float32[2,3]', '[1, 1]', 'value=0']
    """
    text = key.partition("(")[2].removesuffix(")")
    found, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign == "[") - (sign == "]")
        if sign == "," and depth == 0:
            found.append(text[start:place].strip())
            start = place + 1
    return [*found, text[start:].strip()]
