"""The pool on its own: how workers start, how messages are read, and what ends the reading."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import psutil
import pytest
import torch
import torch.distributed as dist

import toolkit as tk
from toolkit.cluster.engines.interrupts import Interrupts
from toolkit.cluster.engines.listener import Listener
from toolkit.cluster.engines.local.launch import start_of
from toolkit.cluster.engines.local.local_engine import LocalEngine
from toolkit.cluster.engines.parcel import pack, unpack
from toolkit.cluster.engines.pool import Pool
from toolkit.cluster.engines.setup import Setup
from toolkit.runs.precision import Tf32

SETUP = Setup(0, 2, "cpu", "gloo", 1, "onednn", True, None, 0, 60.0)


def call(pool: Pool, function, *args, listener=None) -> dict:
    pool.send(range(2), "call", pack((function, False, Tf32.current(), args, {})))
    return {
        rank: unpack(answer) for rank, answer in pool.listen(range(2), "done", listener=listener or Listener()).items()
    }


@pytest.fixture
def pool():
    pool = Pool(SETUP, LocalEngine("forkserver"))
    yield pool
    pool.kill()


def gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)


def test_workers_start_in_the_background_and_join_when_they_are_needed(pool):
    begin = time.monotonic()
    pool.begin()
    assert time.monotonic() - begin < 0.5
    assert not pool.running
    assert pool.pids == []
    pool.start(Listener())
    assert pool.running
    assert call(pool, os.getpid) == dict(enumerate(pool.pids))


def test_a_pool_that_is_ended_while_it_starts_leaves_nothing(pool):
    pool.begin()
    launch = pool.engine._launch
    pool.kill()
    assert launch.wait(60)
    assert gone([process.pid for process in launch.processes])
    pool.start(Listener())
    pids = pool.pids
    pool.stop()
    assert gone(pids)


def test_the_timeout_covers_the_start(pool):
    """Workers that start slowly, or never, were waited for without a limit."""
    listener = Listener(timeout=0.0)
    with pytest.raises(tk.RunTimeout, match=r"rank\(s\) .* had not finished after timeout=0 s"):
        pool.start(replace(listener, began=time.monotonic() - 1))


def test_a_stop_before_the_start_starts_nothing(pool):
    with pytest.raises(tk.RunCancelled):
        pool.start(Listener(interrupts=Interrupts(count=1)))
    assert pool.engine._launch is None


@pytest.mark.parametrize("ends", ["timeout", "stop"])
def test_a_rank_that_prints_without_end_does_not_keep_the_pool_from_stopping(pool, ends):
    """The pool read a rank's messages for as long as there were any."""
    pool.start(Listener())

    def chatter() -> None:
        while dist.get_rank() == 0:
            print("again")
        time.sleep(60)

    begin, heard, interrupts = time.monotonic(), [], Interrupts()

    def on_line(rank: int, stream: str, text: str) -> None:
        heard.append(text)
        interrupts.count = int(ends == "stop" and time.monotonic() - begin > 0.5)

    listener = Listener(on_line=on_line, timeout=1.0 if ends == "timeout" else None, interrupts=interrupts)
    with pytest.raises(tk.RunTimeout if ends == "timeout" else tk.RunCancelled):
        call(pool, chatter, listener=listener)
    assert time.monotonic() - begin < 4
    assert heard


def test_running_out_of_memory_while_a_model_is_placed_is_named(pool):
    """The worker ended with exit code 1, and nobody was told why."""
    pool.start(Listener())
    pool.send(range(2), "install", 7, pack(_Heavy()))
    with pytest.raises(tk.RankFailed, match="ran out of memory") as caught:
        pool.listen(range(2), "installed", listener=Listener())
    assert "in to" in caught.value.remote_traceback
    assert caught.value.settled
    assert call(pool, os.getpid) == dict(enumerate(pool.pids))


class _Heavy(torch.nn.Module):
    """A model that no device has room for."""

    def to(self, *args, **kwargs):
        raise torch.OutOfMemoryError("out of memory. Tried to allocate 1 TiB")


def test_an_unfinished_line_is_heard_when_the_call_ends(pool):
    """What a rank printed without a line break at its end was lost, or came with the next call's."""
    pool.start(Listener())
    heard = []
    listener = Listener(on_line=lambda rank, stream, text: heard.append((rank, stream, text)))
    call(pool, lambda: print("a\nb", end="") if dist.get_rank() == 1 else None, listener=listener)
    assert heard == [(1, "stdout", "a"), (1, "stdout", "b")]


def test_workers_have_the_environment_and_the_folder_of_now(pool, monkeypatch, tmp_path):
    """A fork server keeps the environment of its own start; workers must see the kernel's."""
    monkeypatch.setenv("TOOLKIT_TEST_VALUE", "new")
    monkeypatch.chdir(tmp_path)
    pool.start(Listener())
    assert call(pool, lambda: (os.environ.get("TOOLKIT_TEST_VALUE"), os.getcwd())) == {
        rank: ("new", str(tmp_path)) for rank in range(2)
    }


def test_forks_draw_different_numpy_numbers(pool):
    pool.start(Listener())
    first, second = call(pool, _numpy_number).values()
    assert first != second


def _numpy_number() -> float:
    import numpy as np  # noqa: PLC0415

    return float(np.random.rand())


def test_a_way_to_start_that_does_not_exist_is_refused():
    assert start_of(None) in ("forkserver", "spawn")
    with pytest.raises(tk.PlanError, match="start='thread': must be one of forkserver, spawn"):
        start_of("thread")
