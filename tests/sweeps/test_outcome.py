"""The outcome of a point: measures and kinds of failure."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from support.sweeps import GRID

import toolkit as tk
from toolkit.errors import RankDied, RankFailed, ToolkitError
from toolkit.geometry import Assignment, Blend, TilePlan
from toolkit.runs.record import Record
from toolkit.runs.run import Run
from toolkit.sweeps.outcome import measures_of, status_of


class TestOutcome:
    def test_a_run_with_its_comparison(self):
        plan = TilePlan(GRID, Blend.linear(), Assignment.balanced(GRID, 2))
        trace = pd.DataFrame(
            [(0, "decode", "tile 0", 0.0, 1.0, 0), (1, "send", "edge", 1.0, 1.1, 70), (1, "send", "edge", 1.1, 1.2, 7)],
            columns=["rank", "kind", "label", "start", "end", "bytes"],
        )
        record = Record("now", {"call": "decode"}, {}, "", {}, 0, {}, {}, {})
        sample = torch.linspace(-1, 1, 3 * 256 * 256).reshape(1, 3, 256, 256)
        run = Run(sample, trace, pd.DataFrame(), pd.Series({0: 5, 1: 9}), record, plan, 1.5, {"h": 8, "w": 8})
        compared = tk.compare(run, sample + 0.25)
        table = tk.sweep(lambda tile: (run, compared), {"tile": [12]}, progress=False)
        row = table.iloc[0]
        assert row[["seconds", "peak bytes", "sent bytes", "tiles"]].tolist() == [1.5, 9, 77, len(GRID)]
        assert row["redundancy"] == GRID.redundancy
        assert (row["psnr"], row["max_abs"], row["identical"]) == (compared.psnr, compared.max_abs, False)
        assert json.loads(row["record"])["what"] == {"call": "decode"}

    def test_measures_that_will_not_do(self):
        for result in ({}, (), {"x": 1}, {"status": 1}, {"a": [1, 2]}, {3: 1}, ({"a": 1}, {"a": 2}), object(), 1j):
            with pytest.raises(ToolkitError):
                measures_of(result, ["x"])
            table = tk.sweep(lambda x, result=result: result, {"x": [1]}, progress=False)
            assert table["status"].tolist() == ["failed"]
            assert table["error"].iloc[0].startswith("ToolkitError: ")
        assert measures_of((1, {"b": np.float32(0.5)}, {"c": torch.tensor([2])}), [])[0] == {
            "value": 1, "b": 0.5, "c": 2,
        }  # fmt: skip

    def test_out_of_memory(self):
        wrapped = ValueError("while decoding")
        wrapped.__cause__ = MemoryError()
        allocator = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes"
        for error in (
            MemoryError(), torch.OutOfMemoryError("no"), wrapped, RuntimeError(allocator),
            RankFailed(1, "OutOfMemoryError: x\nIt ran out of memory: use smaller tiles.", ""),
            RankDied(1, -9, "ended by SIGKILL: the out-of-memory killer took it."),
        ):  # fmt: skip
            assert status_of(error) == "out of memory"
        for error in (ValueError("ran out of memory"), RankDied(1, -9, "ended by SIGKILL"), RuntimeError("no")):
            assert status_of(error) == "failed"

    def test_a_real_allocation_that_fails(self):
        table = tk.sweep(lambda cells: len(torch.empty(cells)), {"cells": [1, 2**60]}, progress=False)
        assert table["status"].tolist() == ["done", "out of memory"]
        assert "can't allocate memory" in table["error"].iloc[1]
