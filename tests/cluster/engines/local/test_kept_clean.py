"""What a cluster takes is given back, whatever ended the run; and what is taken from it is missed in words."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import util
from pathlib import Path

import psutil
import pytest
import torch
import torch.distributed as dist
from support import tiny

import toolkit as tk

KERNEL = """
import os, sys, time
import toolkit as tk
if __name__ == "__main__":
    cluster = tk.Cluster(ranks=2, device="cpu")
    cluster.run(os.getpid)
    for seconds in (0.1, 20):
        if os.fork() == 0:
            time.sleep(seconds)
            sys.exit()
    time.sleep(1)
    print(*cluster.pids, *cluster.run(os.getpid), flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def two():
    with tk.Cluster(ranks=2, device="cpu", start="forkserver") as cluster:
        cluster.run(os.getpid)
        yield cluster


def taken() -> tuple[int, int, int]:
    """Open files and threads of this process, and megabytes of shared memory on the machine."""
    gc.collect()  # an error's traceback holds what its frames did
    lines = Path("/proc/meminfo").read_text().splitlines()
    shared = next(int(line.split()[1]) // 1024 for line in lines if line.startswith("Shmem:"))
    return len(os.listdir("/proc/self/fd")), threading.active_count(), shared


def test_after_killed_cancelled_and_failed_runs(two):
    """Each kill left a descriptor and the shared memory of its call, 100 MB here, until the kernel ended."""
    vae, latent = tiny.wan21(), tiny.latent("wan21", 13, 19)
    grid = tk.diffusers_grid(vae, latent.shape)
    plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.round_robin(grid, 2))
    big = torch.ones(25_000_000)

    def die(x: torch.Tensor) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def once() -> None:
        with pytest.raises(tk.RankDied):
            two.run(die, big)
        with pytest.raises(tk.RankFailed):
            two.run(lambda x: 1 / 0, big)
        job = two.decode(vae, latent, plan, block=False, progress=False)
        job.cancel()
        with pytest.raises(tk.RunCancelled):
            job.result()

    once()
    two.run(os.getpid)
    files, threads, shared = taken()
    for _ in range(4):
        once()
    two.run(os.getpid)
    now, until = taken(), time.monotonic() + 10
    while now[:2] != (files, threads) and time.monotonic() < until:
        time.sleep(0.1)  # workers that were given up while they started are ended in the background
        now = taken()
    assert now[:2] == (files, threads)
    assert now[2] < shared + 50


def test_results_that_are_kept_cost_no_descriptors(two):
    files, kept = taken()[0], []
    for _ in range(20):
        kept += two.run(torch.ones, 5)
    assert taken()[0] == files
    assert all(torch.equal(x, torch.ones(5)) for x in kept)


def test_what_a_function_started_ends_with_its_worker(two):
    def start() -> int:
        return subprocess.Popen(["sleep", "60"]).pid

    started = two.run(start)
    two.close()
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in started if psutil.pid_exists(pid)], timeout=5)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_a_signal_without_a_name(two):
    with pytest.raises(tk.RankDied, match="ended by signal 40"):
        two.run(lambda: os.kill(os.getpid(), 40))


def test_a_sink_that_meets_an_oserror_is_not_a_dead_rank(two, monkeypatch):
    """The kernel's own broken pipe, as of a closed terminal, was told as the death of a rank."""

    def broken(*args: object) -> None:
        raise BrokenPipeError("standard output is gone")

    monkeypatch.setattr("builtins.print", broken)
    with pytest.raises(BrokenPipeError, match="standard output"):
        two.run(lambda: sys.stdout.write("a line\n"))
    monkeypatch.undo()
    assert two.run(dist.get_rank) == [0, 1]


def test_the_folder_of_temporary_files_is_cleaned_up(two):
    """As cleaners of /tmp do. New workers could not be reached, and a running call hung."""
    files = taken()[0]
    shutil.rmtree(util.get_temp_dir())
    assert two.run(lambda x: int(x.sum()), torch.ones(3)) == [3, 3]
    two.close()
    assert two.run(lambda x: int(x.sum()), torch.ones(3)) == [3, 3]
    assert taken()[0] == files


def test_the_working_folder_is_removed(two, tmp_path, monkeypatch):
    """Every later call, and close(), raised AttributeErrors."""
    (folder := tmp_path / "folder").mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert two.run(dist.get_rank) == [0, 1]
    two.close()
    for _ in range(2):
        with pytest.raises(tk.RunError, match=r"the working folder has been removed: os.chdir\(\) to one"):
            two.run(dist.get_rank)
    two.close()
    monkeypatch.chdir(tmp_path)
    assert two.run(dist.get_rank) == [0, 1]


def test_no_descriptors_are_left_to_start_with(two):
    two.close()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken()[0] + 2, before[1]))
    try:
        with pytest.raises(tk.RunError, match=r"could not be started: .*Too many open files.* `ulimit -n 4096`"):
            two.run(dist.get_rank)
        two.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert two.run(dist.get_rank) == [0, 1]


def test_forks_of_the_kernel(tmp_path):
    """The exit of one ended its parent's workers; and one that lived on kept the workers of a killed kernel alive."""
    script = tmp_path / "script.py"
    script.write_text(KERNEL)
    kernel = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    first, second, *again = (int(word) for word in kernel.stdout.readline().split())
    assert again == [first, second]
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in again if psutil.pid_exists(pid)], timeout=5)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    kernel.wait(5)
    kernel.stdout.close()


def test_nothing_is_said_when_runs_are_cancelled_in_their_first_moments(two, capfd):
    """Tracebacks of multiprocessing came, as the worker that was to fetch a tensor had ended."""
    vae, latent = tiny.kl(), tiny.latent("kl", 6, 6)
    for moment in range(6):
        job = two.decode(vae, latent, block=False, progress=False)
        time.sleep(0.002 * moment)
        job.cancel()
        with pytest.raises(tk.RunCancelled):
            job.result()
    assert "Traceback" not in capfd.readouterr().err


def test_a_folder_of_temporary_files_that_is_gone_at_the_end_is_no_matter():
    """Python 3.11 printed a traceback."""
    code = "import shutil, toolkit.cluster.engines.local.starting_compat; from multiprocessing import util\n"
    code += "shutil.rmtree(util.get_temp_dir())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
