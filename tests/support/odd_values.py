"""Hypothesis strategies: values that are never right, or seldom, and plain ones with an odd one now and then."""

from __future__ import annotations

from fractions import Fraction
from math import inf, nan
from typing import Any

import numpy as np
from hypothesis import strategies as st

from toolkit.geometry import Schedule, ShardPlan, Span, StageSplit, TileGrid

ODD = [
    *(
        None,
        True,
        False,
        "",
        "abc",
        b"x",
        0.5,
        1.0,
        nan,
        inf,
        -inf,
        -1,
        0,
        1j,
        10**9,
        10**30,
        -(10**30),
        1e300,
        10**400,
    ),
    *([], {}, (), set(), [1, 2], (1, 2), {"h": 1}, {"a": None}, [[]], (None,), range(3), object(), len, int),
    *(np.int64(2), np.float32(0.5), np.array([1, 2]), np.array(["linear"]), np.array(3), Fraction(1, 3)),
    *(Span(0, 4), TileGrid.cover({"w": 9}, 4), ShardPlan(h=2), StageSplit.even(4, 2), Schedule.interleaved(2, 2)),
]


def odd() -> st.SearchStrategy[Any]:
    """A value that hardly any argument takes."""
    return st.sampled_from(range(len(ODD))).map(ODD.__getitem__)


def mostly(plain: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A plain value, and in one case of eight an odd one."""
    return st.integers(0, 7).flatmap(lambda chance: odd() if chance == 7 else plain)


def sizes(least: int = 0, most: int = 40) -> st.SearchStrategy[Any]:
    """A small int, mostly; also one on the wrong side of a rule, or an odd value."""
    return mostly(st.integers(least, most))


def numbers() -> st.SearchStrategy[Any]:
    """Times and costs."""
    plain = st.integers(0, 9) | st.floats(0, 9) | st.fractions(0, 9, max_denominator=7)
    return mostly(plain)


def several(one: st.SearchStrategy[Any], most: int = 6) -> st.SearchStrategy[Any]:
    """A list or a tuple of such values, mostly."""
    return mostly(st.lists(one, max_size=most) | st.lists(one, max_size=most).map(tuple))


def by_axis(one: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values by axis, mostly."""
    axes = st.sampled_from([("h", "w"), ("w",), ("t", "h", "w"), ("h",)])
    return mostly(axes.flatmap(lambda names: st.fixed_dictionaries(dict.fromkeys(names, one))))
