"""A sweep on a thread: rows as they come, cancelling, and errors."""

from __future__ import annotations

import threading

import pytest
from support import tiny
from support.explored_sweeps import SPACE, Gate

import toolkit as tk


def test_rows_appear_as_they_finish_and_cancel_ends_after_the_point_in_flight():
    gate = Gate()
    explorer = tk.widgets.sweep(gate, SPACE)
    explorer.panel.run.click()
    for count in range(3):
        assert gate.begun.acquire(timeout=30)
        assert (len(explorer.table), explorer.outcome) == (count, "running")
        if count < 2:
            gate.go.release()
    assert explorer.panel.run.disabled
    with pytest.raises(tk.ToolkitError, match="a sweep is already running"):
        explorer.start()
    explorer.panel.cancel.click()  # returns at once
    assert explorer.outcome == "running"
    gate.go.release()
    assert explorer.wait(30)
    assert explorer.outcome == "cancelled"
    assert explorer.table[["tile", "blend"]].to_numpy().tolist() == [[4, "linear"], [4, "crop"], [8, "linear"]]
    assert gate.seen == [(4, "linear"), (4, "crop"), (8, "linear")]
    assert "cancelled: 3 of 6 picked points have a row." in explorer.panel.note.value
    assert explorer.panel.cancel.disabled
    assert not explorer.panel.run.disabled


def test_a_store_has_its_rows_from_the_beginning_and_runs_the_others_only(tmp_path):
    seen = []

    def function(tile):
        seen.append(tile)
        return tile

    tk.sweep(function, {"tile": [2, 3]}, store=tmp_path / "s", progress=False)
    explorer = tk.widgets.sweep(function, {"tile": range(1, 5)}, tmp_path / "s")
    assert explorer.table.index.tolist() == [1, 2]
    assert seen == [2, 3]
    explorer.start()
    explorer.wait(30)
    assert explorer.table["value"].tolist() == [1, 2, 3, 4]
    assert seen == [2, 3, 1, 4]


def test_cancel_gives_up_a_run_on_the_cluster_and_the_cluster_stays_usable(tmp_path):
    vae, latent = tiny.wan21(), tiny.latent("wan21", 60, 60, frames=9)
    with tk.Cluster(ranks=1, device="cpu", start="forkserver") as cluster:
        started = threading.Event()

        def function(frames):
            if frames == 9:
                started.set()
            return cluster.decode(vae, latent[:, :, :frames, : 6 * frames, : 6 * frames], progress=False)

        explorer = tk.widgets.sweep(function, {"frames": [1, 9]}, tmp_path / "s", cluster=cluster)
        explorer.start()
        assert started.wait(60)
        explorer.cancel()
        assert explorer.outcome == "cancelled"
        assert explorer.table["frames"].tolist() == [1]
        assert cluster.run(int) == [0]
    known = tk.sweep(function, {"frames": [1, 9]}, store=tmp_path / "s", progress=False, stop=lambda table: True)
    assert known["frames"].tolist() == [1]


def test_any_error_ends_the_sweep_and_is_shown():
    def function(tile):
        raise SystemExit("out of patience")

    explorer = tk.widgets.sweep(function, {"tile": [4]})
    explorer.start()
    assert explorer.wait(30)
    assert explorer.outcome == "failed"
    assert "SystemExit: out of patience" in explorer.panel.note.value


def test_cancel_leaves_the_cluster_alone_when_the_point_in_flight_does_not_use_it():
    with tk.Cluster(ranks=1, device="cpu", start="forkserver") as cluster:
        cluster.run(int)
        workers, gate = cluster.pids, Gate()
        explorer = tk.widgets.sweep(gate, SPACE, cluster=cluster)
        explorer.start()
        assert gate.begun.acquire(timeout=30)
        vae, latent = tiny.kl(), tiny.latent("kl", 20, 20)
        other = cluster.decode(vae, latent, block=False, progress=False)
        explorer.cancel(wait=False)
        assert other.result(timeout=60).output.shape[-1] == 40, "a run that is not the sweep's goes on"
        gate.go.release()
        assert explorer.wait(30)
        assert explorer.outcome == "cancelled"
        assert cluster.pids == workers, "the workers are still the same processes"


def test_a_sweep_that_fails_as_a_whole_says_why(tmp_path):
    (tmp_path / "s").mkdir()
    explorer = tk.widgets.sweep(lambda x: object(), {"x": [1]}, tmp_path / "none" / "s")
    explorer.start()
    explorer.wait(30)
    assert explorer.outcome == "failed"
    assert "does not exist; create it first" in explorer.html
    assert "does not exist; create it first" in explorer.panel.note.value
