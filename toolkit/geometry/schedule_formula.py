"""The time of a step by formula, for chunks of equal cost and links that take no time."""

from __future__ import annotations

from fractions import Fraction


def step_formula(
    *, ranks: int, branches: int, chunks: int = 1, requests: int = 1, overlap: bool = True
) -> tuple[str, Fraction]:
    """The formula for a step of all requests, and its value. The unit is the time of a branch on one rank.

    P is the number of ranks, B the branches per request, V the chunks per rank and R the requests. The branches go
    around the ranks V times. The next lap starts when all branches have started this one and the first has completed
    it; the last lap ends when the last branch has completed it.

    Args:
        ranks: P.
        branches: B.
        chunks: V.
        requests: R.
        overlap: Whether a branch may start before the previous one is back.

    Example:
        >>> formula, value = step_formula(ranks=2, branches=2, chunks=2)
        >>> print(formula, "=", value)
        (P V + B - 1) / (P V) = 5/4
        >>> step_formula(ranks=4, branches=2, requests=3)
        ('max(R B, P + B - 1) / P', Fraction(3, 2))
    """
    if not overlap:
        return "B", Fraction(branches)
    entering = requests * branches
    laps = (chunks - 1) * max(entering, ranks) + max(entering, ranks + branches - 1)
    return _written(ranks, branches, chunks, requests), Fraction(laps, ranks * chunks)


def _written(ranks: int, branches: int, chunks: int, requests: int) -> str:
    """The formula in its shortest form for this kind of schedule."""
    if requests > 1:
        last = "max(R B, P + B - 1)"
        return f"{last} / P" if chunks == 1 else f"((V - 1) max(R B, P) + {last}) / (P V)"
    if chunks == 1:
        return "(P + B - 1) / P"
    return "(P V + B - 1) / (P V)" if branches <= ranks else "(B V + P - 1) / (P V)"
