"""Sweeps: every point is kept, whatever becomes of it or of the process."""

from __future__ import annotations

import copy
import json
import os
import runpy
import subprocess
import sys
from collections import Counter

import pandas as pd
import pytest
import torch
from support.sweeps import half

import toolkit as tk
from toolkit.errors import PlanError, RunCancelled, ToolkitError
from toolkit.geometry import Blend
from toolkit.sweeps.sweep import MAX_STARTS

PROGRAM = """
import os, signal, sys, time
from contextlib import redirect_stdout
from pathlib import Path
import toolkit as tk

def measure(tile, overlap):
    with open("log", "a") as log:
        print("start", tile, overlap, file=log, flush=True)
        while (tile, overlap) == (5, 2) and hang:
            time.sleep(0.01)
        print("end", tile, overlap, file=log, flush=True)
    if (tile, overlap) == (3, 4):
        raise ValueError("overlap=4: must be below tile=3.\\nUse less.")
    return {"share": tile / (tile + overlap), "tiles": tile}

def starts():
    return Path("log").read_text().count("start 5 2") if Path("log").exists() else 0

# Each sweep has its own process, forked because importing would take longer than the sweeps.
for scene in sys.argv[1:]:
    folder, _, modes = scene.partition(":")
    os.chdir(folder)
    for mode in modes.split(","):
        hang, before = mode == "kill", starts()
        pid = os.fork()
        if pid == 0:
            with open("told", "a") as told, redirect_stdout(told):
                table = tk.sweep(measure, {"tile": range(1, 11), "overlap": range(6)}, store="points.db")
            table.to_pickle("table.pickle")
            os._exit(0)
        while hang and starts() == before:
            time.sleep(0.01)
        if hang:
            os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == (signal.SIGKILL if hang else 0)
"""


def calls():
    """A function that counts its calls, and fails where ``bad`` says."""
    seen: list[tuple] = []

    def function(x, y):
        seen.append((x, y))
        if y == "bad":
            raise ValueError("y is bad")
        return x

    return function, seen


Story = tuple[pd.DataFrame, list[str], Counter[str]]


@pytest.fixture(scope="module")
def stories(tmp_path_factory) -> dict[str, Story]:
    """For each series of processes: the last table, the printed lines, how often points started and ended."""
    scenes = {"once": "kill,go on,go on", "always": ",".join(["kill"] * MAX_STARTS + ["go on"])}
    folders = {name: tmp_path_factory.mktemp(name) for name in scenes}
    arguments = [f"{folders[name]}:{modes}" for name, modes in scenes.items()]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return {
        name: (
            pd.read_pickle(folder / "table.pickle"),
            (folder / "told").read_text().splitlines(),
            Counter((folder / "log").read_text().splitlines()),
        )
        for name, folder in folders.items()
    }


class TestKilled:
    """60 points, killed with SIGKILL at the 27th of them, one of them bad."""

    def test_nothing_is_lost_and_nothing_runs_twice(self, stories):
        table, told, log = stories["once"]
        every = [(tile, overlap) for tile in range(1, 11) for overlap in range(6)]
        assert list(zip(table["tile"], table["overlap"], strict=True)) == every
        # The point in flight began twice and ended once; every other one did both once.
        assert log.pop("start 5 2") == 2
        assert set(log.values()) == {1}
        assert len(log) == 60 + 59
        assert table["starts"].tolist() == [1 + (point == (5, 2)) for point in every]
        bad = table[table["status"] == "failed"]
        assert bad[["tile", "overlap"]].values.tolist() == [[3, 4]]
        assert bad["error"].tolist() == ["ValueError: overlap=4: must be below tile=3."]
        assert bad["share"].isna().all()
        good = table[table["status"] == "done"]
        assert good["share"].tolist() == [t / (t + o) for t, o in every if (t, o) != (3, 4)]
        assert told == [f"Sweep of 60 points: 59 done, 1 failed; {found} were in the store" for found in (26, 60)]

    def test_a_point_that_ends_the_process_each_time_is_left_out(self, stories):
        table, told, log = stories["always"]
        row = table[(table["tile"] == 5) & (table["overlap"] == 2)].iloc[0]
        assert row["error"].startswith(f"was running {MAX_STARTS} times when the process ended")
        assert row["starts"] == MAX_STARTS
        assert (log["start 5 2"], log["end 5 2"]) == (MAX_STARTS, 0)
        assert told == ["Sweep of 60 points: 58 done, 2 failed; 27 were in the store"]


class TestTable:
    def test_columns_and_order(self):
        table = tk.sweep(lambda x, y: {"sum": x + y, "word": f"{x}{y}"}, {"x": [3, 1], "y": (10, 20)}, progress=False)
        told = ["status", "error", "took", "when", "starts", "version", "record", "code"]
        assert list(table.columns) == ["x", "y", "sum", "word", *told]
        assert table[["x", "y", "sum"]].values.tolist() == [[3, 10, 13], [3, 20, 23], [1, 10, 11], [1, 20, 21]]
        assert table["took"].between(0, 1).all()
        assert pd.to_datetime(table["when"], utc=True).notna().all()

    def test_about_survives_json_and_copies(self):
        table = tk.sweep(half, {"x": [1, 2]}, progress=False)
        about = table.attrs["sweep"]
        assert json.loads(json.dumps(about)) == about
        assert copy.deepcopy(table).head(1).attrs["sweep"] == about
        assert about["parameters"] == ["x"]
        assert about["measures"] == ["value"]

    def test_values_come_back_as_they_were(self, tmp_path):
        given = {"a": 0.1 + 0.2, "b": float("inf"), "c": True, "d": None, "e": 2**60, "f": "é"}
        for _ in range(2):
            table = tk.sweep(lambda x: given, {"x": [0]}, store=tmp_path / "s", progress=False)
            assert {name: table[name].iloc[0] for name in given} == given

    def test_a_list_of_points(self):
        table = tk.sweep(half, [{"x": 4, "y": 1}, {"y": 2, "x": 8}], progress=False)
        assert table[["x", "y", "value"]].values.tolist() == [[4, 1, 2.0], [8, 2, 4.0]]

    def test_one_line_at_the_end(self, capsys):
        tk.sweep(half, {"x": [1, "a"]})
        assert capsys.readouterr().out == "Sweep of 2 points: 1 done, 1 failed\n"


class TestResume:
    def test_what_ended_is_not_run_again(self, tmp_path):
        function, seen = calls()
        space = {"x": [1, 2], "y": ["good", "bad"]}
        first = tk.sweep(function, space, store=tmp_path / "s", progress=False)
        second = tk.sweep(function, space, store=tmp_path / "s", progress=False)
        assert len(seen) == 4
        pd.testing.assert_frame_equal(first, second)
        assert second["status"].tolist() == ["done", "failed"] * 2

    def test_a_larger_grid_runs_what_is_new_in_its_own_order(self, tmp_path):
        function, seen = calls()
        tk.sweep(function, {"x": [2, 4], "y": [0]}, store=tmp_path / "s", progress=False)
        table = tk.sweep(function, {"y": [0], "x": [1, 2, 3, 4]}, store=tmp_path / "s", progress=False)
        assert seen == [(2, 0), (4, 0), (1, 0), (3, 0)]
        assert table["x"].tolist() == [1, 2, 3, 4]

    def test_retry_runs_what_failed(self, tmp_path):
        function, seen = calls()
        space = {"x": [1], "y": ["good", "bad"]}
        tk.sweep(function, space, store=tmp_path / "s", progress=False)
        table = tk.sweep(function, space, store=tmp_path / "s", progress=False, retry=True)
        assert seen == [(1, "good"), (1, "bad"), (1, "bad")]
        assert table["starts"].tolist() == [1, 2]

    def test_an_interrupt_ends_it_and_blames_no_point(self, tmp_path, capsys):
        def function(x):
            if x == 3 and not again:
                raise KeyboardInterrupt
            return x

        again = False
        for _ in range(MAX_STARTS + 1):
            with pytest.raises(KeyboardInterrupt):
                tk.sweep(function, {"x": [1, 2, 3, 4]}, store=tmp_path / "s")
        assert capsys.readouterr().out.startswith("Sweep of 2 of 4 points: 2 done\n")
        again = True
        table = tk.sweep(function, {"x": [1, 2, 3, 4]}, store=tmp_path / "s", progress=False)
        assert table["status"].tolist() == ["done"] * 4
        assert table["starts"].tolist() == [1] * 4

    def test_stop_is_asked_before_each_point_that_must_be_run(self, tmp_path, capsys):
        function, seen = calls()
        space, told = {"x": [1, 2, 3, 4], "y": [0]}, []

        def stop(table):
            told.append(table["value"].tolist() if len(table) else [])
            return len(table) == 2

        table = tk.sweep(function, space, store=tmp_path / "s", stop=stop)
        assert told == [[], [1], [1, 2]]
        assert table["x"].tolist() == [1, 2]
        assert capsys.readouterr().out == "Sweep of 2 of 4 points: 2 done\n"
        table = tk.sweep(function, space, store=tmp_path / "s", stop=lambda table: False, progress=False)
        assert table["x"].tolist() == [1, 2, 3, 4]
        assert seen == [(1, 0), (2, 0), (3, 0), (4, 0)]

    def test_a_cancelled_run_ends_it_and_blames_no_point(self, tmp_path):
        def function(x):
            if x == 2 and not again:
                raise RunCancelled("the run was cancelled")
            return x

        again = False
        for _ in range(MAX_STARTS + 1):
            with pytest.raises(RunCancelled):
                tk.sweep(function, {"x": [1, 2]}, store=tmp_path / "s", progress=False)
        again = True
        table = tk.sweep(function, {"x": [1, 2]}, store=tmp_path / "s", progress=False)
        assert table[["status", "starts"]].to_numpy().tolist() == [["done", 1]] * 2

    def test_on_error_raise(self, tmp_path):
        function, seen = calls()
        space = {"x": [1, 2], "y": ["bad", "good"]}
        with pytest.raises(ValueError, match="y is bad"):
            tk.sweep(function, space, store=tmp_path / "s", progress=False, on_error="raise")
        assert tk.sweep(function, space, store=tmp_path / "s", progress=False)["status"].tolist().count("failed") == 2
        assert len(seen) == 4
        with pytest.raises(PlanError, match="on_error='ignore'"):
            tk.sweep(function, space, on_error="ignore")

    def test_another_version_of_the_function_is_told(self, tmp_path):
        def edition(body: str):
            folder = tmp_path / body
            folder.mkdir()
            (folder / "edited.py").write_text(f"def function(x):\n    return {body}\n")
            return runpy.run_path(str(folder / "edited.py"), run_name="edited")["function"]

        old, new = edition("x"), edition("2 * x")
        tk.sweep(old, {"x": [1, 2]}, store=tmp_path / "s", progress=False)
        with pytest.warns(UserWarning, match="2 of 3 points were computed by another version"):
            table = tk.sweep(new, {"x": [1, 2, 3]}, store=tmp_path / "s", progress=False)
        assert table["value"].tolist() == [1, 2, 6]
        assert len(set(table["version"])) == 2


class TestReproduce:
    def test_runs_the_point_again(self):
        table = tk.sweep(half, {"x": [3, 5], "y": [Blend.linear()]}, progress=False)
        code = tk.reproduce(table[table["x"] == 5], 1)
        *lines, last = code.splitlines()
        assert lines[-1] == ""
        exec("\n".join([*lines, f"value = {last}"]), made := {})
        assert made["value"] == table["value"].iloc[1] == 2.5

    def test_refusals(self):
        table = tk.sweep(lambda x: x, {"x": [3]}, progress=False)
        with pytest.raises(ToolkitError, match="cannot be written as code"):
            tk.reproduce(table, 0)
        with pytest.raises(ToolkitError, match="row=7"):
            tk.reproduce(table, 7)
        with pytest.raises(ToolkitError, match="no column 'code'"):
            tk.reproduce(pd.DataFrame({"x": [1]}), 0)


def end_badly(how):
    """What a rank does at a point."""
    if how == "dies":
        os._exit(7)
    if how == "needs memory":
        return len(torch.empty(2**60))
    return {"right": 1}[how]


class TestOnACluster:
    def test_a_point_that_takes_its_rank_with_it(self):
        """The cluster starts a new rank, so the next point runs as if nothing had happened."""
        with tk.Cluster(1, device="cpu", start="forkserver") as cluster:
            points = {"how": ["right", "dies", "needs memory", "raises"]}
            table = tk.sweep(lambda how: cluster.run(end_badly, how)[0], points, progress=False)
            again = tk.sweep(lambda how: cluster.run(end_badly, how)[0], {"how": ["right"]}, progress=False)
        assert table["status"].tolist() == ["done", "failed", "out of memory", "failed"]
        assert "RankDied: rank 0 died: its process exited with code 7" in table["error"].iloc[1]
        assert table["error"].iloc[3] == "RankFailed: rank 0 raised KeyError: 'raises'"
        assert again["value"].tolist() == [1]
