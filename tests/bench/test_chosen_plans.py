"""The benchmark of choices: every candidate is run, and the choice is held against the quickest that fits."""

from __future__ import annotations

import json

import pytest

import toolkit as tk
from toolkit.bench import chosen_plans as plans
from toolkit.bench.chosen_plans import Case, Measured, _near, _verdict
from toolkit.cli import main
from toolkit.planning.choice import Choice, Limits, Prediction

NAMES = ("whole", "shards", "tiles")
PREDICTED = (
    Prediction("whole", None, exact=True, seconds=2.0, peak=100),
    Prediction("shards", tk.ShardPlan(h=2), exact=True, seconds=1.0, peak=60),
    Prediction("tiles", tk.ShardPlan(w=2), exact=True, seconds=1.5, peak=30),
)


def test_there_are_20_cases_and_more() -> None:
    cases = plans.cases()
    assert len(set(cases)) * len(plans.LIMITS) >= 20
    assert {case.ranks for case in cases} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("seconds", "limit", "verdict"),
    [
        ((2.0, 1.0, 1.5), None, ("shards", "shards", 0.0, True)),
        ((2.0, 1.04, 1.0), None, ("shards", "tiles", 0.04, True)),
        ((2.0, 1.2, 1.0), None, ("shards", "tiles", 0.2, False)),
        ((2.0, 1.0, 1.5), 50, ("tiles", "tiles", 0.0, True)),
        ((2.0, 1.0, 1.5), 20, ("none fits", "none fits", 0.0, True)),
        ((2.0, 1.0, 1.5), 25, ("none fits", "tiles", 0.0, False)),
    ],
)
def test_a_choice_is_good_within_5_percent_of_the_quickest_that_fits(seconds, limit, verdict) -> None:
    choice = Choice.of(PREDICTED, Limits(), ranks=2, weights=0)
    peaks = (100, 60, 25)
    runs = {name: Measured(*one) for name, *one in zip(NAMES, seconds, peaks, strict=True)}
    fits = limit is None or limit >= min(one.peak for one in PREDICTED)
    found = _verdict(choice.under(memory=limit) if fits else None, runs, limit)
    assert (found["chosen"], found["best"], pytest.approx(found["slower"]), found["good"]) == verdict


def test_candidates_that_another_beats_in_time_and_memory_are_run_once() -> None:
    taken = {"whole": [2.0], "shards": [1.0], "tiles": [1.5]}
    near = _near(PREDICTED, taken, {"whole": 100, "shards": 60, "tiles": 80})
    # The call on one rank is always run: limits are parts of its memory.
    assert [one.name for one in near] == ["whole", "shards"]
    assert len(_near(PREDICTED, taken, {"whole": 100, "shards": 60, "tiles": 30})) == 3


@pytest.mark.slow
def test_the_command_runs_candidates(tmp_path, capsys, monkeypatch) -> None:
    """Uses one small case: the full benchmark takes minutes and tests nothing more."""
    monkeypatch.setattr(plans, "cases", lambda: [Case("image", (1, 16, 12, 10), 2)])
    path = tmp_path / "plans.json"
    assert main(["bench", "plan", "--turns", "1", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert [row["limit MB"] is None for row in rows] == [True, False]
    for row in rows:
        assert {one["plan"] for one in row["candidates"]} >= {"the model's own call", "2 x 1 shards"}
        assert all(one["seconds, measured"] > 0 for one in row["candidates"])
    assert "of 2 cases" in capsys.readouterr().out
