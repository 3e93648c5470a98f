"""Plans name their arguments to who gives another, and are otherwise as dataclasses make them."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import replace

import pytest

import toolkit as tk


@pytest.mark.parametrize(
    ("plan", "has"),
    [
        (tk.ShardPlan, "h, w, attention, borders, root, block"),
        (tk.TilePlan, "grid, blend, assignment"),
        (tk.StagePlan, "split, schedule"),
    ],
)
def test_an_argument_that_a_plan_lacks(plan, has):
    with pytest.raises(tk.PlanError, match=rf"^{plan.__name__}\(ranks=2\): no such argument; it has {has}"):
        plan(ranks=2)


def test_a_plan_is_a_dataclass_as_before():
    plan = tk.ShardPlan(2, w=3)
    assert list(inspect.signature(tk.ShardPlan).parameters) == ["h", "w", "attention", "borders", "root", "block"]
    assert pickle.loads(pickle.dumps(plan)) == copy.deepcopy(plan) == replace(plan, h=2) == plan
    with pytest.raises(tk.PlanError, match="no such argument"):
        replace(plan, ranks=3)
