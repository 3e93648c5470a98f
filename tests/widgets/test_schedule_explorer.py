"""The schedule explorer: sliders move the schedule, code moves the sliders, a refusal leaves the last plan."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

import toolkit as tk
from toolkit.geometry.schedule_table import Action
from toolkit.widgets.schedule_explorer import TAKES


def cells(page: str) -> dict[str, str]:
    """The first table of the drawing."""
    (table, *_) = ElementTree.fromstring(f"<p>{page}</p>").iter("table")
    return {"".join(row[0].itertext()).strip(): "".join(row[1].itertext()) for row in table.iter("tr")}


def test_each_slider_changes_what_it_names():
    explorer = tk.widgets.schedule(layers=40, kind="requests", stages=2, branches=2, chunks=1, requests=2)
    for name, value in {"stages": 4, "branches": 3, "chunks": 2, "requests": 3}.items():
        before = explorer.html
        explorer.controls[name].value = value  # as the front end does
        assert getattr(explorer, name) == value
        assert explorer.html != before
    assert explorer.schedule == tk.Schedule.requests(4, branches=3, requests=3, chunks=2)
    assert explorer.plan == tk.StagePlan(tk.StageSplit.even(40, 8), explorer.schedule)


def test_code_moves_the_sliders():
    explorer = tk.widgets.schedule()
    explorer.stages = 5
    explorer.kind = "interleaved"
    assert (explorer.controls["stages"].value, explorer.controls["kind"].value) == (5, "interleaved")
    assert explorer.schedule == tk.Schedule.interleaved(5, branches=2)


@pytest.mark.parametrize("kind", TAKES)
def test_a_kind_enables_the_counts_it_has(kind):
    explorer = tk.widgets.schedule(kind=kind, chunks=3, requests=3)
    enabled = {name for name in ("chunks", "requests") if not explorer.controls[name].disabled}
    assert enabled == set(TAKES[kind])
    for name in {"chunks", "requests"} - enabled:
        with pytest.raises(tk.PlanError, match=f"{name}=2 would have no effect now. .* only."):
            setattr(explorer, name, 2)
        assert getattr(explorer, name) == 3


def test_the_step_is_simulated_with_the_hop_and_the_split():
    explorer = tk.widgets.schedule(layers=7, stages=3, kind="interleaved", branches=2, hop=0.1)
    split = tk.StageSplit.even(7, 3)
    assert explorer.step_time == pytest.approx(float(explorer.schedule.step_time(split.shares, 0.1)), abs=1e-12)
    assert explorer.step_time == pytest.approx((3 + 2 + 2 + 3) / 7 + 3 * 0.1, abs=1e-12)
    shown = cells(explorer.html)
    assert shown["a step"] == f"{explorer.step_time:.3f}"
    assert shown["utilisation"] == f"{100 * 2 / (3 * explorer.step_time):.1f} %"


def test_the_formula_is_the_simulation_of_equal_chunks():
    kinds = [
        *(tk.Schedule.sequential(p, b) for p, b in product(range(1, 6), range(1, 6))),
        *(
            tk.Schedule.requests(p, b, r, v)
            for p, b, r, v in product(range(1, 6), range(1, 5), (1, 2, 3, 5), (1, 2, 3))
        ),
    ]
    for order in kinds:
        text, value = order.formula
        assert value == order.step_time([Fraction(1, order.depth)] * order.depth), order
        letters = {"P": order.stages, "B": order.branches, "V": order.chunks, "R": order.in_flight}
        code = (
            text.replace("P V", "(P * V)").replace("B V", "(B * V)").replace("R B", "(R * B)").replace(") m", ") * m")
        )
        assert eval(code, {"max": max}, {name: Fraction(n) for name, n in letters.items()}) == value, text


def test_a_refusal_takes_the_drawing_s_place_and_keeps_the_plan():
    explorer = tk.widgets.schedule(layers=6, stages=2, chunks=2)
    plan = explorer.plan
    explorer.stages = 4
    assert "6 layers in 8 stages" in explorer.error
    assert explorer.error in ElementTree.fromstring(explorer.html).findtext(".//p[@role='alert']")
    assert "<svg" not in explorer.html
    assert explorer.plan is plan
    assert repr(explorer) == f"ScheduleExplorer({explorer.error})"
    explorer.chunks = 1
    assert explorer.error == ""
    assert explorer.plan.ranks == 4


@pytest.mark.parametrize("kind", TAKES)
def test_the_snippet_makes_the_plan(kind):
    explorer = tk.widgets.schedule(layers=40, kind=kind, stages=3, chunks=2, requests=3)
    names: dict[str, object] = {"tk": tk}
    exec(explorer.snippet, names)
    assert names["plan"] == explorer.plan
    assert explorer.snippet.splitlines()[0] in explorer.html


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stages": 9}, "stages=9: must be from 1 to 8"),
        ({"stages": 0}, "stages=0: must be an int of at least 1"),
        ({"kind": "zigzag"}, "kind='zigzag': must be one of sequential, interleaved"),
        ({"hop": -0.1}, "hop=-0.1: must be from 0.0"),
        ({"layers": 3}, "3 layers in 4 stages"),
        ({"seconds": 0.0}, "seconds=0.0: must be above 0"),
    ],
)
def test_what_the_sliders_do_not_go_to_is_refused(settings, words):
    with pytest.raises(tk.PlanError, match=words):
        tk.widgets.schedule(**settings)


def test_assigning_what_a_slider_does_not_go_to_changes_nothing():
    explorer = tk.widgets.schedule(stages=2)
    for value in (9, 0, 2.0, True, "2"):
        with pytest.raises(tk.PlanError, match="stages="):
            explorer.stages = value
    assert explorer.stages == 2


def test_measured_times_are_beside_the_schedule_that_had_them():
    order = tk.Schedule.looped(stages=2, branches=2, chunks=2)
    plan = tk.StagePlan(tk.StageSplit.even(8, 4), order)
    times = SimpleNamespace(plan=plan, step=0.321, loop=1.92, predicted=1.88, one_rank=2.93)
    explorer = tk.widgets.schedule(layers=8, seconds=0.24, measured=[times])
    shown = cells(explorer.html)
    assert shown["a step"] == "1.250 = 0.3 s"
    assert shown["measured step, 8 layers"] == "0.321 s"
    explorer.chunks = 1
    assert "measured" not in explorer.html


def test_every_action_is_drawn_with_its_times():
    explorer = tk.widgets.schedule(stages=2, chunks=2)
    titles = [title.text for title in ElementTree.fromstring(f"<p>{explorer.html}</p>").iter("title")]
    events = explorer.schedule.timeline([0.25] * 4, steps=2)
    assert len(titles) == len(events) == 16
    assert sum(str(Action(3, 1)) in text for text in explorer.html.split("<text")) >= 1


def test_the_largest_is_drawn():
    explorer = tk.widgets.schedule(layers=99, kind="requests", stages=8, branches=4, chunks=4, requests=4, hop=0.25)
    assert explorer.plan.ranks == 8
    assert len(explorer.html) < 60_000
