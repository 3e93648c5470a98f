"""What another user of the machine meets: nothing beyond the loopback interface, and no way to where ranks meet."""

from __future__ import annotations

import gc
import os
import shutil
import stat
import tempfile
from pathlib import Path

import psutil
import pytest
from support import tiny

import toolkit as tk

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
        assert [path.name for path in folder.iterdir()] == ["meeting"]
        cluster.close()
        # As cleaners of temporary files do.
        shutil.rmtree(folder)
        assert cluster.run(abs, -2) == [2, 2]
        cluster.close()
        del cluster
        gc.collect()
        assert not list(Path(place).glob("toolkit-*"))
