"""Faults, with real processes: named within seconds, all others stopped, the cluster usable again."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
import torch
import torch.distributed as dist
from support import tiny

import toolkit as tk


@pytest.fixture
def three():
    """Three ranks of its own for a test that breaks them."""
    with tk.Cluster(ranks=3, device="cpu", start="forkserver") as cluster:
        cluster.run(os.getpid)
        yield cluster


def usable(cluster: tk.Cluster) -> bool:
    """Whether the cluster computes and communicates."""

    def total() -> float:
        one = torch.ones(1)
        dist.all_reduce(one)
        return one.item()

    return cluster.run(total) == [3.0] * 3


def gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)


def within(seconds: float, since: float) -> bool:
    return time.monotonic() - since < seconds


def wait_for_others() -> None:
    dist.recv(torch.zeros(1), src=(dist.get_rank() + 1) % 3)


def test_a_rank_that_raises(three):
    def culprit() -> None:
        if dist.get_rank() == 1:
            raise KeyError("the culprit")
        wait_for_others()

    begin = time.monotonic()
    with pytest.raises(tk.RankFailed, match="the culprit") as caught:
        three.run(culprit)
    assert within(5, begin)
    assert caught.value.rank == 1
    assert "in culprit" in caught.value.remote_traceback
    assert usable(three)


def test_ranks_that_all_raise_keep_their_processes(three):
    pids = three.pids
    with pytest.raises(tk.RankFailed, match="ZeroDivisionError"):
        three.run(lambda: 1 / 0)
    assert usable(three)
    assert three.pids == pids


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_rank_that_is_killed(three, number):
    pids = three.pids

    def die() -> None:
        if dist.get_rank() == 2:
            os.kill(os.getpid(), number)
        wait_for_others()

    begin = time.monotonic()
    with pytest.raises(tk.RankDied, match=f"rank 2 died: ended by {number.name}") as caught:
        three.run(die)
    assert within(5, begin)
    assert caught.value.exitcode == -number
    assert gone(pids)
    assert usable(three)


def test_a_rank_that_exits(three):
    with pytest.raises(tk.RankDied, match="exited with code 7"):
        three.run(lambda: os._exit(7) if dist.get_rank() == 0 else wait_for_others())
    assert usable(three)


def test_a_rank_that_hangs(three):
    pids = three.pids

    def hang() -> None:
        if dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGSTOP)

    begin = time.monotonic()
    with pytest.raises(tk.RunTimeout, match=r"rank\(s\) 1 .*timeout=2 s .*rank 1 stopped by a signal") as caught:
        three.run(hang, timeout=2)
    assert within(7, begin)
    assert caught.value.ranks == (1,)
    assert gone(pids)
    assert usable(three)


def test_a_rank_that_runs_out_of_memory(three):
    def greedy() -> torch.Tensor:
        if dist.get_rank() == 1:
            used = psutil.Process().memory_info().vms
            resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, resource.RLIM_INFINITY))
            return torch.ones(2**30)
        return wait_for_others()

    begin = time.monotonic()
    with pytest.raises(tk.RankFailed, match="ran out of memory: use smaller tiles") as caught:
        three.run(greedy)
    assert within(5, begin)
    assert caught.value.rank == 1
    assert usable(three)


def test_a_decode_that_breaks_on_one_rank_is_traced_up_to_there(three):
    vae, latent = tiny.wan21(), tiny.latent("wan21", 13, 19)
    vae.decoder.register_forward_hook(_break_on_rank_one)
    grid = tk.diffusers_grid(vae, latent.shape)
    plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.round_robin(grid, 3))
    begin = time.monotonic()
    with pytest.raises(tk.RankFailed, match="broken tile") as caught:
        three.decode(vae, latent, plan, progress=False)
    assert within(8, begin)
    assert caught.value.rank == 1
    assert set(caught.value.trace["rank"]) <= {0, 1, 2}
    assert usable(three)


def _break_on_rank_one(module, args, output):
    if dist.get_rank() == 1:
        raise RuntimeError("broken tile")


def test_an_unpicklable_result_is_an_error_not_a_hang(three):
    with pytest.raises(tk.RankFailed, match="pickle"):
        three.run(threading.Lock)
    assert usable(three)


def test_cancelling_a_job(three):
    vae, latent = tiny.wan21(), tiny.latent("wan21", 30, 30, frames=9)
    pids, begin = three.pids, time.monotonic()
    grid = tk.diffusers_grid(vae, latent.shape)
    plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.balanced(grid, 3))
    job = three.decode(vae, latent, plan, block=False, progress=False)
    time.sleep(0.5)
    job.cancel()
    with pytest.raises(tk.RunCancelled):
        job.result()
    assert within(5, begin)
    assert gone(pids)
    assert usable(three)


def test_closing_ends_a_job():
    vae, latent = tiny.wan21(), tiny.latent("wan21", 30, 30, frames=9)
    grid = tk.diffusers_grid(vae, latent.shape)
    plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.balanced(grid, 2))
    with tk.Cluster(ranks=2, device="cpu", start="forkserver") as cluster:
        cluster.run(os.getpid)
        pids = cluster.pids
        job = cluster.decode(vae, latent, plan, block=False, progress=False)
        time.sleep(0.5)
    assert gone(pids)
    with pytest.raises(tk.RunCancelled):
        job.result(timeout=5)


def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import toolkit as tk\ntk.Cluster(ranks=1, device='cpu').run(print)\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "rank 0 died: its process exited with code 1" in done.stderr
    assert 'use a cluster under `if __name__ == "__main__":`' in done.stderr


def test_spmd_all_ranks_raise_with_the_first_reason(three):
    """The same without a kernel that watches: ranks that wait learn the reason through the store."""

    def spmd() -> str:
        vae, latent = tiny.wan21(), tiny.latent("wan21", 13, 19)
        if dist.get_rank() == 2:
            vae.decoder = None  # a model that is not the others'
            vae.register_module("decoder", torch.nn.Identity())
        grid = tk.diffusers_grid(vae, latent.shape)
        plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.contiguous(grid, 3))
        begin = time.monotonic()
        try:
            tk.distributed.decode(vae, latent, plan)
        except Exception as error:
            return f"{type(error).__name__} {time.monotonic() - begin < 8} {getattr(error, 'rank', None)}"
        return "nothing"

    outcome = three.run(spmd)
    assert outcome[0] == "RankFailed True 2"  # the root waits for rank 2
    assert "nothing" not in outcome[2]
