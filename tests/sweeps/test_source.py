"""Values as Python code that makes them again."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch
from support.sweeps import GRID, half

import toolkit as tk
from toolkit.geometry import Assignment, Blend, Span, TileGrid, TilePlan
from toolkit.geometry.plan import PlanKind
from toolkit.sweeps.source import PUBLIC, program, source


class Colour(Enum):
    RED = 1


class TestSource:
    @pytest.mark.parametrize(
        "value",
        [
            None, True, 12, -0.1, float("inf"), "it's", (1,), (), [1, (2, "a")], {"a": [1.5]}, {2, 1}, frozenset(),
            range(1, 9, 2), torch.bfloat16, torch.device("cpu"), Path("a/b"), Colour.RED, Blend.cosine(), Span(1, 3),
            GRID, TilePlan(GRID, Blend.diffusers(), Assignment.balanced(GRID, 3), root=1), Assignment.balanced, half,
            TileGrid, np.float64(0.1), tk.ShardPlan(h=2), tk.Schedule.looped(2, 2, 2),
        ],
        ids=lambda value: getattr(value, "__qualname__", repr(value)),
    )  # fmt: skip
    def test_makes_an_equal_value(self, value):
        made: dict = {}
        *lines, last = program(source(value)).splitlines()
        exec("\n".join([*lines, f"value = {last}"]), made)
        assert made["value"] == value
        assert type(made["value"]) is type(value) or isinstance(value, np.generic)

    def test_what_does_not_say_how_it_is_made(self):
        for value in (object(), lambda: 1, torch.zeros(1), [object()], {"a": object()}, set()):
            assert source(value) is None

    def test_public_names(self):
        assert set(tk.__all__) >= PUBLIC
        assert source(PlanKind.TILES).text == "PlanKind.TILES"
