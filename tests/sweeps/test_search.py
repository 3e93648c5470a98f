"""Searches: optuna chooses, the store remembers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

import toolkit as tk
from toolkit.errors import PlanError, ToolkitError
from toolkit.geometry import Blend

BLENDS = [Blend.linear(), Blend.cosine(), Blend.crop()]
SPACE = {"tile": range(4, 33, 4), "blend": BLENDS}
PROGRAM = """
import os
import toolkit as tk

def measure(x):
    with open("log", "a") as log:
        print(x, file=log)
    if os.path.getsize("log") > 20 and os.getpid() != parent:
        os._exit(3)
    return {"y": (x - 7) ** 2}

def sweep():
    tk.sweep(measure, tk.search({"x": range(40)}, points=15, objective="y"), store="s", progress=False)

parent = os.getpid()
child = os.fork()
if child == 0:
    sweep()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
print(open("log").read(), end="--")
sweep()
print(open("log").read(), end="")
"""


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def cost(tile, blend):
    if tile == 8:
        raise ValueError("tile=8: is bad")
    return {"cost": abs(tile - 20) + BLENDS.index(blend)}


def looked_for(points: int, **more):
    return tk.search(SPACE, points=points, objective="cost", **more)


class TestSearch:
    def test_finds_runs_nothing_twice_and_goes_on(self, tmp_path):
        seen = []

        def counted(tile, blend):
            seen.append((tile, repr(blend)))
            return cost(tile, blend)

        first = tk.sweep(counted, looked_for(8), store=tmp_path / "s", progress=False)
        assert len(first) == len(seen) == 8
        table = tk.sweep(counted, looked_for(16), store=tmp_path / "s", progress=False)
        assert len(table) == len(seen) == len(set(seen)) == 16
        # A point that fails has no cost: whether one is among them depends on the sampler, and makes the column float.
        assert table.iloc[:8]["cost"].tolist() == pytest.approx(first["cost"].tolist(), nan_ok=True)
        assert list(zip(table["tile"], table["blend"], strict=True)) == seen
        assert table.attrs["sweep"]["objectives"] == {"cost": "minimize"}

    def test_an_exhausted_space_ends(self, tmp_path):
        search = tk.search({"tile": [8, 20], "blend": BLENDS[:1]}, points=1000, objective="cost")
        table = tk.sweep(cost, search, store=tmp_path / "s", progress=False)
        assert dict(zip(table["tile"], table["status"], strict=True)) == {8: "failed", 20: "done"}

    def test_the_study_knows_what_the_table_knows(self, tmp_path):
        table = tk.sweep(cost, looked_for(12), store=tmp_path / "s", progress=False)
        study = looked_for(12).study(tmp_path / "s")
        states = [trial.state for trial in study.trials]
        assert TrialState.RUNNING not in states
        told = {(t.params["tile"], t.params["blend"]): t.value for t in study.trials if t.state == TrialState.COMPLETE}
        done = table[table["status"] == "done"]
        assert told == dict(zip(zip(done["tile"], done["blend"], strict=True), done["cost"], strict=True))
        assert study.best_value == done["cost"].min()

    def test_several_objectives_and_a_distribution(self, tmp_path):
        space = {"x": optuna.distributions.FloatDistribution(1e-3, 1e3, log=True)}
        search = tk.search(space, points=5, objective=("a", "b"), direction=("minimize", "maximize"))
        table = tk.sweep(lambda x: {"a": x, "b": -x}, search, store=tmp_path / "s", progress=False)
        assert table["x"].between(1e-3, 1e3).all()
        assert len(search.study(tmp_path / "s").best_trials) >= 1

    def test_resumes_after_its_process_ended(self, tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, timeout=120, text=True
        )
        assert done.returncode == 0, done.stderr
        before, after = (part.split() for part in done.stdout.split("--"))
        # The point in flight comes first, and no other comes twice.
        assert after[: len(before) + 1] == [*before, before[-1]]
        assert len(after) == 15 + 1
        assert len(set(after)) == 15


class TestRefusals:
    def test_searches_that_will_not_do(self, tmp_path):
        for arguments, message in [
            ({"points": 0}, "points=0"),
            ({"points": True}, "points=True"),
            ({"points": 3, "direction": "up"}, "direction of 'seconds'='up': must be one of minimize, maximize"),
            ({"points": 3, "seed": -1}, "seed=-1: must be an int of at least 0"),
            ({"points": 3, "objective": ()}, "one direction for each"),
            ({"points": 3, "objective": ("a", "b"), "direction": ("minimize",)}, "one direction for each"),
            ({"points": 3, "objective": ("a", "a")}, "one direction for each"),
        ]:
            with pytest.raises(PlanError, match=message):
                tk.search({"x": [1]}, **arguments)
        with pytest.raises(PlanError, match="must map each parameter to its values"):
            tk.search([{"x": 1}], points=1)
        with pytest.raises(PlanError, match="column of every sweep's table"):
            tk.search({"code": [1]}, points=1)
        for space, message in [
            ({"x": range(5, 1)}, "positive step"),
            ({"x": []}, "no values"),
            ({"x": 3}, "give a list"),
        ]:
            with pytest.raises(PlanError, match=message):
                tk.sweep(cost, tk.search(space, points=2), store=tmp_path / "s")

    def test_what_needs_a_store(self, tmp_path):
        with pytest.raises(PlanError, match="keeps what it learned beside its store"):
            tk.sweep(cost, looked_for(3), progress=False)
        with pytest.raises(PlanError, match="retry=True: a search never returns to a point"):
            tk.sweep(cost, looked_for(3), store=tmp_path / "s", retry=True)

    def test_an_objective_that_is_not_there(self, tmp_path):
        search = tk.search({"x": [1, 2]}, points=2, objective="speed")
        with pytest.raises(ToolkitError, match=r"objective 'speed' is None .* the function returned value"):
            tk.sweep(lambda x: x, search, store=tmp_path / "s", progress=False)

    def test_another_objective_in_the_same_store(self, tmp_path):
        tk.sweep(cost, looked_for(2), store=tmp_path / "s", progress=False)
        with pytest.raises(ToolkitError, match="its study optimises"):
            tk.sweep(cost, looked_for(2, direction="maximize"), store=tmp_path / "s", progress=False)

    def test_without_optuna(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "optuna", None)
        with pytest.raises(ToolkitError, match=r"pip install 'difftiles\[optuna\]'"):
            tk.sweep(cost, looked_for(3), store=tmp_path / "s", progress=False)
        assert not Path(tmp_path / "s.study").exists()
