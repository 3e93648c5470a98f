"""What a fuzzed function is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from fuzz import invariants as holds
from hypothesis import strategies as st

Given = dict[str, st.SearchStrategy[Any]]

COUNTS: Counter[tuple[str, str]] = Counter()
"""Number of answers and refusals of each target in this run."""


class Target(NamedTuple):
    """A function of the public surface.

    Attributes:
        call: The function.
        given: Strategies of its arguments.
        check: What must hold of an answer; called with the answer and the arguments.
        weight: How many cases it gets, over what most get.
    """

    call: Callable[..., Any]
    given: Given
    check: Callable[..., None] = holds.any_answer
    weight: float = 1.0
