"""Clusters: calls, models, progress, jobs and what is refused before anything starts."""

from __future__ import annotations

import os

import pytest
import torch
from support import tiny

import toolkit as tk
from toolkit.runs.run import Run


def small_plan(ranks: int = 2, h: int = 13, w: int = 11) -> tuple:
    vae, latent = tiny.wan21(), tiny.latent("wan21", h, w)
    grid = tk.TileGrid.cover({"h": h, "w": w}, tile=8, overlap=2)
    return vae, latent, tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, ranks))


def test_any_function_on_every_rank(cluster):
    def norm(x: torch.Tensor, power: int) -> tuple[int, torch.Tensor]:
        total = x.pow(power).sum()
        torch.distributed.all_reduce(total)
        return torch.distributed.get_rank(), total

    results = cluster.run(norm, torch.ones(3), power=2)
    assert [rank for rank, _ in results] == [0, 1, 2, 3, 4]
    assert all(total == 15 for _, total in results)


def test_workers_persist_and_have_one_thread(cluster):
    pids = cluster.run(os.getpid)
    assert pids == cluster.run(os.getpid) == cluster.pids
    assert cluster.run(torch.get_num_threads) == [1] * 5


def test_models_are_held_and_follow_changes(cluster):
    vae, latent = tiny.kl(), tiny.latent("kl", 9, 9)
    before = cluster.decode(vae, latent, progress=False).output
    with torch.no_grad():
        vae.decoder.conv_out.bias.add_(1)
    after = cluster.decode(vae, latent, progress=False).output
    assert torch.allclose(after - before, torch.ones_like(after), atol=1e-5)
    assert cluster.run(lambda model: model.decoder.conv_out.bias.shape[0], vae) == [3] * 5


def test_a_run_tells_how_it_went(cluster, capsys):
    vae, latent, plan = small_plan(ranks=3)
    run = cluster.decode(vae, latent, plan)
    assert isinstance(run, Run)
    decoded = run.trace[run.trace["kind"] == "decode"]
    assert sorted(decoded["label"]) == sorted(f"tile {i}" for i in range(len(plan.grid)))
    owners = {f"tile {i}": rank for i, rank in enumerate(plan.assignment.owners)}
    assert all(owners[label] == rank for label, rank in zip(decoded["label"], decoded["rank"], strict=True))
    assert (run.trace["end"] >= run.trace["start"]).all()
    assert 0 <= run.trace["start"].min() <= run.trace["end"].max() <= run.seconds
    sent = run.trace.loc[run.trace["kind"] == "send", "bytes"].sum()
    cell = 8 * 8 * 3 * 5 * 4  # 8x, RGB, five frames, fp32
    assert sent == plan.bytes_moved(cell)
    assert run.peaks.index.tolist() == [0, 1, 2]
    assert (run.memory.groupby("rank")["bytes"].max() == run.peaks).all()
    assert run.ratio == {"h": 8, "w": 8}
    out = capsys.readouterr().out
    assert "rank 0" in out
    assert f"{len(plan.grid)} tiles over 3 ranks" in out
    assert "tiles over 3 ranks" in run._repr_html_()


def test_the_models_own_call(cluster):
    vae, latent, _ = small_plan()
    run = cluster.decode(vae, latent, progress=False)
    assert run.plan is None
    assert run.trace["kind"].tolist() == ["whole"]
    with torch.no_grad():
        assert torch.allclose(run.output, vae.decode(latent).sample, atol=1e-5)


def test_a_job_in_the_background(cluster):
    vae, latent, plan = small_plan()
    job = cluster.decode(vae, latent, plan, block=False, progress=False)
    with pytest.raises(tk.ToolkitError, match="running a job"):
        cluster.run(os.getpid)
    run = job.result(timeout=60)
    assert job.done
    assert job.progress == {0: (plan.assignment.counts[0],) * 2, 1: (plan.assignment.counts[1],) * 2}
    assert torch.equal(run.output, cluster.decode(vae, latent, plan, progress=False).output)


def test_results_of_workers_are_on_the_host(cluster):
    results = cluster.run(lambda: {"a": [torch.ones(1, requires_grad=True)], "b": (torch.zeros(1),)})
    assert all(not one["a"][0].requires_grad for one in results)


def test_what_a_rank_prints_is_heard(cluster, capsys):
    cluster.run(lambda: print("hello") if torch.distributed.get_rank() == 3 else None)
    assert capsys.readouterr().out == "[rank 3] hello\n"


def test_refused_before_a_worker_starts():
    vae, latent, plan = small_plan(ranks=3)
    cluster = tk.Cluster(ranks=2, device="cpu")
    with pytest.raises(tk.PlanError, match="3 ranks, the cluster has 2"):
        cluster.decode(vae, latent, plan)
    plan = small_plan(ranks=2)[2]
    with pytest.raises(tk.PlanError, match="h=13, w=10"):
        cluster.decode(vae, latent[..., :10], plan)
    with pytest.raises(tk.PlanError, match="ndarray"):
        cluster.decode(vae, latent.numpy(), plan)
    with pytest.raises(tk.PlanError, match="TileGrid"):
        cluster.decode(vae, latent, plan.grid)
    with pytest.raises(tk.ModelError, match="Linear"):
        cluster.decode(torch.nn.Linear(1, 1), latent, plan)
    assert cluster.pids == []
    with pytest.raises(tk.PlanError, match="ranks=0"):
        tk.Cluster(ranks=0)


def test_spawn_and_forkserver_give_the_same_bits(cluster):
    vae, latent, plan = small_plan()
    with tk.Cluster(ranks=2, device="cpu", start="spawn") as spawned:
        assert repr(spawned).endswith("not started)")
        run = spawned.decode(vae, latent, plan, progress=False)
        pids = spawned.pids
    assert torch.equal(run.output, cluster.decode(vae, latent, plan, progress=False).output)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_worker_choices_can_be_switched_off():
    vae, latent, _plan = small_plan()
    with tk.Cluster(ranks=1, device="cpu", start="forkserver", convolutions="aten", keep_memory=False) as plain:
        run = plain.decode(vae, latent, progress=False)
    with torch.no_grad():
        assert torch.equal(run.output, vae.decode(latent).sample)
    assert run.record.what["convolutions"] == "aten"


@pytest.mark.parametrize("timeout", [float("nan"), float("inf"), -1, "x", True])
def test_a_limit_that_is_none_is_refused_before_anything_runs(cluster, timeout, monkeypatch):
    monkeypatch.setattr("toolkit.cluster.calls.Calls.call", lambda *_, **__: pytest.fail("a worker was called"))
    vae, latent = tiny.kl(), tiny.latent("kl", 4, 4)
    for ask in (
        lambda: cluster.decode(vae, latent, timeout=timeout),
        lambda: cluster.encode(vae, torch.zeros(1, 3, 8, 8), timeout=timeout),
        lambda: cluster.run(int, timeout=timeout),
        lambda: tk.Cluster(1, "cpu", timeout=timeout),
    ):
        with pytest.raises(tk.PlanError, match=rf"timeout={timeout!r}: must be a number of seconds"):
            ask()
