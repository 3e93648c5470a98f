"""What another user of the machine meets: nothing beyond the loopback interface, and no way to where ranks meet."""

from __future__ import annotations

import gc
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TextIO

import psutil
import pytest
import torch
import torch.distributed as dist
from support import stranger, tiny

import toolkit as tk
from toolkit.cluster.engines.local import private_folder
from toolkit.distributed.comm import introductions
from toolkit.distributed.comm.group import Groups, Member

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
SECRET = 0x5EC2E7
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
        for one in (live, dead):
            one.stdout.close()


def as_somebody_else(**request: object) -> subprocess.Popen:
    command = [sys.executable, stranger.__file__, json.dumps(request)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


@needs_root
def test_another_user_reads_nothing(cluster) -> None:
    folder = str(cluster._workers._calls.pool.engine._folder)
    assert Path(folder, "meeting").exists()
    with as_somebody_else(folders=[folder], pids=[os.getpid(), *cluster.pids]) as process:
        answer = process.stdout.read()
    assert set(json.loads(answer).values()) == {"PermissionError"}


def meet_again(rounds: int) -> list[str]:
    """Form further groups, to which one rank comes late, and pass a number around that nobody else should hear."""
    introductions.LIMIT = timedelta(seconds=1)
    groups, me, outcomes = Groups(), Member.of(None), []
    for number in range(rounds):
        # The other rank is there to be connected to meanwhile.
        time.sleep(0.4 * me.rank)
        try:
            one = groups.like(me, f"round {number}")
            mine, theirs = torch.full((4,), SECRET), torch.zeros(4, dtype=torch.int64)
            for work in one.post([(mine, 1 - me.rank, True), (theirs, 1 - me.rank, False)]):
                work.wait()
            outcomes.append("talked" if theirs.tolist() == mine.tolist() else "wrong")
        except tk.RunError:
            outcomes.append("refused")
    return outcomes


def tell_ports(pids: list[int], to: TextIO, over: threading.Event) -> None:
    """Name every port at which a process begins to listen."""
    known: set[int] = set()
    while not over.wait(0.01):
        every = (one for pid in pids for one in psutil.Process(pid).net_connections("inet"))
        found = {one.laddr.port for one in every if one.status == psutil.CONN_LISTEN}
        to.writelines(f"{port}\n" for port in found - known)
        to.flush()
        known |= found


@needs_root
def test_another_user_who_takes_a_ranks_place_is_not_talked_to(cluster) -> None:
    """He connected to a rank's port before the rank that was meant, and got the messages of the group."""
    rounds = 8  # in every second one, the rank that is late is the one that connects to the other
    over = threading.Event()
    with as_somebody_else() as attacker:
        # Only this cluster's ports: other tests run at the same time.
        spy = threading.Thread(target=tell_ports, args=(cluster.pids, attacker.stdin, over))
        spy.start()
        outcomes = cluster.run(meet_again, rounds, timeout=60)
        over.set()
        spy.join()
        attacker.stdin.close()
        heard = bytes.fromhex(attacker.stdout.read())
    assert "wrong" not in outcomes[0] + outcomes[1]
    assert "refused" in outcomes[0]
    assert heard
    assert SECRET.to_bytes(8, "little") not in heard
    assert cluster.run(dist.get_rank) == [0, 1]


def forged(key: bytes, sender: int, receiver: int) -> bytes:
    return bytes(32)


def test_who_does_not_know_the_key_is_refused() -> None:
    def impostor(first: bool) -> str:
        if dist.get_rank() == 1:
            introductions.token = forged
        try:
            introductions.introduce(Member.of(None), torch.device("cpu"))
        except tk.RunError as error:
            return str(error)
        return "let in"

    with tk.Cluster(2, "cpu") as two:
        assert two.run(impostor, True)[0].startswith("rank 1 did not know the group's key: another process may have")
