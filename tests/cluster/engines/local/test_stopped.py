"""A worker that a signal has stopped: named within seconds in every phase, whatever the timeout."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
import torch.distributed as dist
from support import tiny

import toolkit as tk
from toolkit.cluster import calls as calls_module
from toolkit.cluster.engines import pool as pool_module
from toolkit.cluster.engines.stopped import Stopped

ENDED = r"rank\(s\) 1 have been stopped by a signal for 1 s"


@pytest.fixture
def two(monkeypatch):
    monkeypatch.setattr(pool_module, "Stopped", lambda is_stopped: Stopped(is_stopped, 1.0))
    with tk.Cluster(ranks=2, device="cpu", start="forkserver") as cluster:
        cluster.run(os.getpid)
        yield cluster


def still_works(cluster: tk.Cluster, pids: list[int]) -> None:
    assert cluster.run(dist.get_rank) == [0, 1]
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)


def test_while_it_is_idle(two):
    """The next call waited for ever; its model is the first message."""
    pids, begin = two.pids, time.monotonic()
    os.kill(pids[1], signal.SIGSTOP)
    with pytest.raises(tk.RunTimeout, match=ENDED) as caught:
        two.decode(tiny.kl(), tiny.latent("kl", 6, 6), progress=False)
    assert caught.value.ranks == (1,)
    assert time.monotonic() - begin < 4
    still_works(two, pids)


def test_during_a_call(two):
    pids = two.pids
    with pytest.raises(tk.RunTimeout, match=ENDED):
        two.run(lambda: os.kill(os.getpid(), signal.SIGSTOP) if dist.get_rank() == 1 else None)
    still_works(two, pids)


def test_while_a_new_group_is_formed(two, monkeypatch):
    monkeypatch.setattr(calls_module, "REGROUP_LIMIT", 60.0)
    pids, begin = two.pids, time.monotonic()

    def fails() -> None:
        if dist.get_rank() == 1:
            # It answers first, and is stopped before it is asked to form a new group.
            os.system(f"(sleep 0.3; kill -STOP {os.getpid()}) >/dev/null 2>&1 &")
        raise ValueError("both")

    def slowly(pool, listener, was=pool_module.Pool.regroup):
        time.sleep(0.6)
        was(pool, listener)

    monkeypatch.setattr(pool_module.Pool, "regroup", slowly)
    with pytest.raises(tk.RankFailed, match="both"):
        two.run(fails)
    assert time.monotonic() - begin < 6
    still_works(two, pids)


def test_while_it_starts(two):
    two.close()
    with tk.Cluster(ranks=2, device="cpu", start="forkserver") as cluster:
        launch = cluster._workers._calls.pool.engine._launch
        while len(launch.processes) < 2:
            time.sleep(0.001)
        os.kill(launch.processes[1].pid, signal.SIGSTOP)
        with pytest.raises(tk.RunTimeout, match=ENDED):
            cluster.run(os.getpid)
        assert cluster.run(dist.get_rank) == [0, 1]


def test_a_debuggers_moment_is_allowed(two):
    pids = two.pids

    def pause() -> int:
        if dist.get_rank() == 1:
            os.system(f"(sleep 0.7; kill -CONT {os.getpid()}) >/dev/null 2>&1 &")
            os.kill(os.getpid(), signal.SIGSTOP)
        return dist.get_rank()

    assert two.run(pause) == [0, 1]
    assert two.pids == pids


def test_closing_ends_it(two):
    pids = two.pids
    os.kill(pids[0], signal.SIGSTOP)
    begin = time.monotonic()
    two.close()
    assert time.monotonic() - begin < 5
    still_works(two, pids)


def test_the_end_of_the_kernel_ends_it(tmp_path):
    """Both ends: an exit hung, and a kill left the stopped worker."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, sys\nimport toolkit as tk\n"
        "if __name__ == '__main__':\n"
        "    cluster = tk.Cluster(ranks=2, device='cpu')\n    cluster.run(os.getpid)\n"
        "    os.kill(cluster.pids[1], signal.SIGSTOP)\n    print(*cluster.pids, flush=True)\n"
        "    sys.exit() if sys.argv[1] == 'exit' else os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ends = [
        subprocess.Popen([sys.executable, str(script), how], stdout=subprocess.PIPE, text=True)
        for how in ("exit", "kill")
    ]
    for kernel in ends:
        pids = [int(word) for word in kernel.communicate(timeout=60)[0].split()]
        assert len(pids) == 2
        _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=10)
        assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_a_pause_of_this_process_is_no_time(monkeypatch):
    """Ctrl-Z stops the kernel and its workers, and `fg` lets the kernel go on first."""
    now = [0.0]
    monkeypatch.setattr("toolkit.cluster.engines.stopped.time.monotonic", lambda: now[0])
    stopped = Stopped(lambda rank: True, limit=2.0)
    for moment, found in ((1.0, ()), (1000.0, ()), (1000.6, (3,))):
        now[0] = moment
        assert stopped.look([3]) == found


def test_shared_tensors_arrive_after_all(two):
    assert [int(x.sum()) for x in two.run(lambda t: t * 2, torch.ones(8))] == [16, 16]
