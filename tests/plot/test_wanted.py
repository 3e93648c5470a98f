"""Anything that a newcomer may give a figure in place of a run or a comparison is refused in plain words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import toolkit as tk
from toolkit.errors import PlanError, ToolkitError

GRID = tk.TileGrid.cover({"h": 8, "w": 8}, tile=4)
PLAN = tk.TilePlan(GRID, tk.Blend.linear(), tk.Assignment.balanced(GRID, ranks=2))


@pytest.mark.parametrize(
    "given", [PLAN, None, 3, "run", [PLAN]], ids=["plan", "None", "number", "text", "list of plans"]
)
@pytest.mark.parametrize("figure", [tk.plot.timeline, tk.plot.memory, tk.plot.peak_memory])
def test_a_figure_of_a_run_says_what_it_is_drawn_from(figure: Callable[[Any], Any], given: Any):
    with pytest.raises(ToolkitError, match=r"draws a run, not an? \w+: pass the run that cluster\.decode returns"):
        figure(given)


@pytest.mark.parametrize(
    "given",
    [PLAN, None, 3, "run", [PLAN], np.array(3)],
    ids=["plan", "None", "number", "text", "list of plans", "array without axes"],
)
@pytest.mark.parametrize("figure", [tk.plot.seams, tk.plot.seam_profile])
def test_a_figure_of_an_error_asks_for_a_comparison(figure: Callable[[Any], Any], given: Any):
    with pytest.raises(ToolkitError, match=r"draws comparisons, not an? \w+: pass tk\.compare\(run, reference\)"):
        figure(given)


def test_a_blend_without_its_parentheses():
    with pytest.raises(PlanError, match=r"must be a Blend, such as Blend\.linear\(\)"):
        tk.TilePlan(GRID, tk.Blend.linear, tk.Assignment.balanced(GRID, ranks=2))  # type: ignore[arg-type]


def test_memory_in_words():
    with pytest.raises(PlanError, match=r"memory='1 GB': must be a number of bytes"):
        tk.plan(tk.demo.image_vae(), (1, 16, 20, 20), ranks=2, memory="1 GB")  # type: ignore[arg-type]
