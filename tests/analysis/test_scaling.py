"""Scaling: every loss is attributed once."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch
from support.stage_runs import NOTHING

from toolkit.analysis.scaling import CAUSES, scaling_table
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


class TestScaling:
    alone = run_of(8.0, 1, (0, "whole", 0.0, 7.0))
    divided = run_of(
        5.0,
        2,
        *((0, "shard", 0.0, 4.0), (0, "send", 4.0, 4.5)),
        *((1, "shard", 0.0, 3.0), (1, "wait", 3.0, 4.25), (1, "receive", 4.25, 4.5)),
    )

    def test_losses_of_two_ranks(self):
        one, two = scaling_table([self.divided, self.alone]).to_dict("records")
        assert [one[cause] for cause in CAUSES] == [0.0] * 5
        assert (two["speed-up"], two["efficiency"]) == (1.6, 0.8)
        # Of 10 s: 7 computing as alone, no more; 0.75 moving; rank 1 had 1 s less to do; it waited 0.25 s more.
        lost = {"extra computing": 0.0, "moving": 0.75, "imbalance": 1.0, "waiting": 0.25, "other": 0.0}
        assert {cause: two[cause] * 10 for cause in CAUSES} == pytest.approx(lost, abs=1e-12)

    def test_causes_add_up_to_what_the_efficiency_lacks(self):
        for row in scaling_table([self.divided, self.alone]).to_dict("records"):
            assert sum(row[cause] for cause in CAUSES) == pytest.approx(1 - row["efficiency"], abs=1e-12)

    def test_a_rank_without_events_is_out_of_balance(self):
        idle = run_of(8.0, 2, (0, "whole", 0.0, 7.0))
        (row,) = scaling_table([idle], base=self.alone).to_dict("records")
        assert row["efficiency"] == 0.5
        assert {cause: row[cause] * 16 for cause in CAUSES if row[cause]} == {"imbalance": 7.0, "other": 1.0}

    def test_the_quickest_run_counts(self):
        slow = replace(self.divided, seconds=50.0)
        assert scaling_table([slow, self.divided, self.alone]).loc[1, "seconds"] == 5.0

    def test_refusals(self):
        with pytest.raises(ToolkitError, match="there are no runs"):
            scaling_table([])
        with pytest.raises(ToolkitError, match=r"the runs are on \[2\] ranks, but the reference must be on one rank"):
            scaling_table([self.divided])
        with pytest.raises(ToolkitError, match=r"base=Run.* is on 2, but the reference must be on one rank"):
            scaling_table([self.alone], base=self.divided)
