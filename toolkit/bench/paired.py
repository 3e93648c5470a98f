"""Paired measurements: contenders take turns, and results are ratios within a turn."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from statistics import median, quantiles

import pandas as pd
from tqdm.auto import tqdm

from toolkit.geometry.checks import check_counts

Contender = Callable[[], float]


def take_turns(contenders: Mapping[str, Contender], turns: int, *, seed: int = 0) -> pd.DataFrame:
    """Run every contender once per turn, in an order shuffled for each turn.

    Args:
        contenders: Functions by name; each runs once and returns seconds.
        turns: Number of measured turns; one more comes first and is dropped.
        seed: Seed of the order.

    Returns:
        One row per turn, one column per contender, in seconds.
    """
    check_counts(turns=turns)
    order, rows = random.Random(seed), []
    for _ in tqdm(range(turns + 1), unit="turn", desc="bench"):
        names = order.sample(sorted(contenders), len(contenders))
        rows.append({name: contenders[name]() for name in names})
    return pd.DataFrame(rows[1:], columns=list(contenders))


def ratios(seconds: pd.DataFrame, contender: str) -> pd.DataFrame:
    """How many times faster ``contender`` was than each other one: median and quartiles over turns.

    Example:
        >>> table = pd.DataFrame({"two ranks": [1.0, 1.1, 0.9], "one rank": [2.0, 2.2, 1.8]})
        >>> ratios(table, "two ranks").loc["one rank", "times faster"].item()
        2.0
    """
    rows = {}
    for other in seconds.columns.drop(contender):
        each = (seconds[other] / seconds[contender]).tolist()
        low, _, high = quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
        rows[other] = {"seconds": median(seconds[other]), "times faster": median(each), "q1": low, "q3": high}
    return pd.DataFrame.from_dict(rows, orient="index")
