"""Paired measurements: turns, and ratios within them."""

from __future__ import annotations

import pandas as pd

from toolkit.bench.paired import ratios, take_turns


def test_ratios_are_taken_within_a_turn():
    """A machine that halves its speed in one turn does not change the ratio."""
    table = pd.DataFrame({"ours": [1.0, 2.0, 1.0], "other": [3.0, 6.0, 3.0]})
    result = ratios(table, "ours").loc["other"]
    assert result.tolist() == [3.0, 3.0, 3.0, 3.0]


def test_every_contender_runs_once_a_turn():
    calls: list[str] = []

    def contender(name: str):
        return lambda: calls.append(name) or float(len(calls))

    table = take_turns({"a": contender("a"), "b": contender("b")}, turns=3)
    assert table.shape == (3, 2)
    assert [sorted(calls[i : i + 2]) for i in range(0, 8, 2)] == [["a", "b"]] * 4
