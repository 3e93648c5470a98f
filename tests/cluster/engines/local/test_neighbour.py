"""What another user of the machine meets: nothing beyond the loopback interface, and no way to where ranks meet."""

from __future__ import annotations

import gc
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import psutil
import pytest
from support import tiny

import toolkit as tk
from toolkit.cluster.engines.local import private_folder

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.fixture(scope="module")
def cluster():
    with tk.Cluster(2, "cpu") as made:
        made.decode(tiny.kl(), tiny.latent("kl", 6, 5), tk.ShardPlan(h=2), progress=False)
        yield made


def listening(pid: int) -> set[str]:
    """The addresses at which a process listens."""
    return {one.laddr.ip for one in psutil.Process(pid).net_connections("inet") if one.status == psutil.CONN_LISTEN}


def test_ranks_listen_on_the_loopback_interface_only(cluster) -> None:
    found = set.union(*map(listening, cluster.pids))
    assert found <= LOOPBACK
    assert found, "gloo must listen somewhere, or this test looks in the wrong place"


def test_the_kernel_listens_on_no_other_interface(cluster) -> None:
    assert listening(os.getpid()) <= LOOPBACK


def test_ranks_meet_in_a_private_folder_that_goes_with_the_cluster(monkeypatch) -> None:
    """Ranks find each other, and tell of failures, through a file that only their user can reach."""
    with tempfile.TemporaryDirectory() as place:
        monkeypatch.setattr(tempfile, "tempdir", place)
        cluster = tk.Cluster(2, "cpu")
        assert cluster.run(abs, -1) == [1, 1]
        (folder,) = Path(place).glob("toolkit-*")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert sorted(path.name for path in folder.iterdir()) == ["lock", "meeting"]
        cluster.close()
        # As cleaners of temporary files do.
        shutil.rmtree(folder)
        assert cluster.run(abs, -2) == [2, 2]
        cluster.close()
        del cluster
        gc.collect()
        assert not list(Path(place).glob("toolkit-*"))


def test_folders_of_killed_processes_are_removed_with_the_next_one(monkeypatch) -> None:
    program = (
        "import os, signal, sys\n"
        "from toolkit.cluster.engines.local.private_folder import private_folder\n"
        "owner = type('Owner', (), {})()\n"
        "print(private_folder(owner), flush=True)\n"
        "sys.stdin.readline() if sys.argv[1] == 'live' else os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.setattr(private_folder, "YOUNG", 0.0)
    with tempfile.TemporaryDirectory() as place:
        monkeypatch.setattr(tempfile, "tempdir", place)
        start = partial(
            subprocess.Popen,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": place},
        )
        live, dead = (start([sys.executable, "-c", program, how]) for how in ("live", "dead"))
        lives, died = (Path(one.stdout.readline().strip()) for one in (live, dead))
        dead.communicate(timeout=10)
        assert died.exists()
        with tk.Cluster(1, "cpu"):
            assert (lives.exists(), died.exists()) == (True, False)
        live.communicate("\n", timeout=10)
        assert not lives.exists()
