"""The points of a sweep: what is refused, and how points are recognised."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.sweeps import GRID, half

import toolkit as tk
from toolkit.errors import PlanError
from toolkit.geometry import Assignment, Blend, TilePlan
from toolkit.sweeps.points import points_of


class TestPoints:
    def test_refusals(self):
        for space, message in [
            ({}, "contains no points"),
            ([], "contains no points"),
            ({"x": []}, "x has no values"),
            ({"x": "abc"}, "give a list of values"),
            ({"x": 3}, "give a list of values"),
            ({"x": np.array(3)}, "give a list of values"),
            (np.array(3), "give values by parameter"),
            ({"x": [1, 1]}, "the point x=1 occurs twice"),
            ([{"x": 1, "y": 2}, {"y": 2, "x": 1}], "occurs twice"),
            ([{"x": 1}, {"y": 1}], "have different parameters"),
            ([{}], "has no parameters"),
            ([3], "is not a point"),
            ({"status": [1]}, "column of every sweep's table"),
            ({"two words": [1]}, "cannot name a parameter"),
            ({"x": [object()]}, "memory address"),
            ({"x": [lambda: 1]}, "memory address"),
            ({"x": [1, "1"]}, "both print as 1"),
        ]:
            with pytest.raises(PlanError, match=message):
                tk.sweep(half, space)

    def test_plans_that_print_alike_are_told_apart(self):
        plans = [TilePlan(GRID, Blend.linear(), deal(GRID, 2)) for deal in (Assignment.contiguous, Assignment.balanced)]
        assert repr(plans[0]) == repr(plans[1])
        assert plans[0] != plans[1]
        with pytest.raises(PlanError, match="Name them: plan="):
            tk.sweep(lambda plan: plan, {"plan": plans})
        named = tk.sweep(lambda plan: plan, {"plan": dict(zip("ab", plans, strict=True))}, progress=False)
        assert named["plan"].tolist() == ["a", "b"]
        assert named["redundancy"].tolist() == [GRID.redundancy] * 2

    def test_names_stand_for_what_cannot_be_printed(self, tmp_path):
        for _ in range(2):
            models = {"small": torch.nn.Linear(1, 1), "large": torch.nn.Linear(9, 9)}
            space = {"model": models, "add": [0, 1]}
            table = tk.sweep(lambda model, add: model.weight.numel() + add, space, store=tmp_path / "s", progress=False)
            assert table["model"].tolist() == ["small", "small", "large", "large"]
            assert table["value"].tolist() == [1, 2, 81, 82]
            assert table["starts"].tolist() == [1] * 4

    def test_keys_hold_in_another_process(self):
        point = points_of([{"blend": Blend.cosine(), "dtype": torch.float16, "tile": 12, "spans": {"h", "w", "t"}}])[0]
        assert point.key == "3bc0c9e8a44e5dd42242b0831dacf64c"
        assert point.shown["blend"] == "Blend.cosine()"
