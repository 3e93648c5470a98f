"""The grid explorer: sliders move the plan, and its forecast is the plan's."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import torch
from support import tiny
from support.explored import COST, explorer

import toolkit as tk
from toolkit.models.autoencoders.census import specimen


def test_each_control_changes_what_it_names():
    one = explorer(ranks=2)
    changes = {"tile_h": 8, "tile_w": 10, "overlap": 2, "ranks": 3, "policy": "contiguous", "blend": "diffusers"}
    for name, value in changes.items():
        before = one.html
        one.controls[name].value = value  # as the front end does
        assert getattr(one, name) == value
        assert one.html != before, name
    grid = tk.TileGrid.cover({"h": 24, "w": 40}, tile={"h": 8, "w": 10}, overlap=2)
    assert one.plan == tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.contiguous(grid, 3))
    assert one.grid == grid


def test_code_moves_both_sliders_of_the_tile():
    one = explorer()
    one.tile = 8
    assert [one.controls[name].value for name in ("tile_h", "tile_w")] == [8, 8]
    one.tile = {"h": 6, "w": 9}
    assert one.tile == {"h": 6, "w": 9} == {"h": one.tile_h, "w": one.tile_w}
    with pytest.raises(tk.PlanError, match="one for each of h and w"):
        one.tile = {"h": 6}
    with pytest.raises(tk.PlanError, match="tile_h=25: must be from 1 to 24"):
        one.tile = 25


def test_the_forecast_is_that_of_the_plan():
    one = explorer(tile=8, overlap=2, ranks=3)
    assert one.forecast.seconds == tuple(work * 0.001 for work in one.plan.work)
    assert one.forecast.whole == 24 * 40 * 0.001
    assert one.forecast.peaks == one.plan.peaks(100, 1000)
    rows = [
        ["".join(cell.itertext()) for cell in row] for row in ElementTree.fromstring(f"<p>{one.html}</p>").iter("tr")
    ]
    assert rows[0] == ["rank", "tiles", "cells", "predicted", "peak"]
    for rank, row in enumerate(rows[1:]):
        cost = one.plan.costs[rank]
        assert row[:3] == [str(rank), str(cost.tiles), f"{cost.work:,}"]
        assert row[3] == f"{cost.work * 0.001:.3g} s"
    assert f"{one.grid.redundancy:.2f}x the work" in one.html


def test_a_refusal_takes_the_drawing_s_place_and_keeps_the_plan():
    one = explorer(tile=8, overlap=2)
    plan = one.plan
    one.overlap = 9
    assert "overlap" in one.error
    assert "<svg" not in one.html
    assert one.plan is plan
    one.overlap = 3
    assert one.error == ""
    assert "<svg" in one.html


@pytest.mark.parametrize(
    "settings", [{}, {"policy": "round_robin", "blend": "crop", "overlap": 0}, {"tile": 7, "ranks": 5}]
)
def test_the_snippet_makes_the_plan(settings):
    one = explorer(**settings)
    names: dict[str, object] = {"tk": tk}
    exec(one.snippet, names)
    assert names["plan"] == one.plan


def test_the_snippet_of_a_refusal_is_that_of_the_plan():
    one = explorer(tile=8, overlap=2)
    before = one.snippet
    one.overlap = 9
    assert one.snippet == before


def test_a_class_with_another_blend_is_not_offered_the_cascade():
    other = specimen("AutoencoderTiny")
    one = tk.widgets.explore(other.build(), other.latent(6, 8), cost=COST)
    assert "diffusers" not in one.controls["blend"].options
    assert "diffusers" in explorer().controls["blend"].options


def test_a_thousand_tiles_are_all_drawn():
    one = tk.widgets.explore(tiny.kl(), torch.zeros(1, 4, 128, 128), cost=COST, tile=8, overlap=4, ranks=8)
    assert len(one.plan.grid) == 961
    numbers = ElementTree.fromstring(f"<p>{one.html}</p>").findall(".//g[@class='tk-number']/text")
    assert sorted(int(number.text) for number in numbers) == sorted(one.plan.assignment.owners)
    assert len(one.html) < 80_000


def test_the_cost_is_measured_where_the_plan_will_run(cluster):
    one = tk.widgets.explore(tiny.kl(), tiny.latent("kl", 20, 20), cluster=cluster)
    assert one.forecast.whole > 0
    assert one.forecast.weights == sum(parameter.nbytes for parameter in tiny.kl().parameters())
