"""The use of time: every instant counts once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from support.stage_runs import NOTHING

from toolkit.analysis.time_use import USES, covered_time, time_use
from toolkit.errors import ToolkitError
from toolkit.geometry import ShardPlan
from toolkit.runs.run import Run


def trace_of(*rows: tuple[int, str, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["rank", "kind", "start", "end"])


def run_of(seconds: float, ranks: int, *rows: tuple[int, str, float, float]) -> Run:
    empty = pd.DataFrame(columns=["rank", "time", "bytes"])
    plan = None if ranks == 1 else ShardPlan(h=ranks)
    trace = trace_of(*rows)
    return Run(torch.zeros(1), trace, empty, pd.Series(dtype=float), NOTHING, plan, seconds)


def test_overlapping_and_nested_events_cover_time_once():
    rows = [(0, "a", 0.0, 4.0), (0, "a", 1.0, 2.0), (0, "a", 3.0, 5.0), (0, "a", 7.0, 7.0), (0, "a", 6.0, 8.0)]
    assert covered_time(trace_of(*rows)) == 7.0
    assert covered_time(trace_of(*rows[::-1])) == 7.0
    assert covered_time(trace_of()) == 0.0


def test_what_goes_on_at_once_counts_for_the_first_use():
    table = time_use(
        trace_of((3, "send", 0.0, 2.0), (3, "decode", 1.0, 3.0), (3, "wait", 2.5, 4.0), (3, "load", 4.0, 8.0))
    )
    assert table.loc[3].to_dict() == {"compute": 2.0, "send": 1.0, "receive": 0.0, "wait": 1.0, "other": 4.0}


@pytest.mark.parametrize("seed", range(5))
def test_uses_add_up_to_the_run(seed):
    random = np.random.default_rng(seed)
    kinds = [kind for kinds in USES.values() for kind in kinds] + ["load", "stream"]
    rows = []
    for _ in range(200):
        start = float(random.integers(0, 1000)) / 8
        rows.append(
            (int(random.integers(0, 4)), str(random.choice(kinds)), start, start + float(random.integers(0, 80)) / 8)
        )
    table = time_use(run_of(200.0, 4, *rows))
    # All times are eighths, so every sum is exact.
    assert (table.sum(axis=1) == 200.0).all()
    assert (table >= 0).all(axis=None)


def test_a_trace_without_events_is_refused():
    with pytest.raises(ToolkitError, match="no events"):
        time_use(trace_of())
