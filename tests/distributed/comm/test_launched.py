"""Joining and agreeing under a launcher: interfaces, silence of connections, who is missing, who has something else."""

from __future__ import annotations

import json
import os
import socket
import threading
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

from toolkit.distributed.comm import interfaces, launched
from toolkit.distributed.comm.agreement import Agreement
from toolkit.distributed.comm.failure import KEY, FailureFlag
from toolkit.distributed.comm.interfaces import LOOPBACKS, towards
from toolkit.distributed.comm.launched import Launched, launched_group
from toolkit.distributed.comm.lost_links import limit_silence, noticed_links
from toolkit.errors import PlanError, RankFailed, RunError, RunTimeout, ToolkitError


def test_ranks_of_one_host_use_the_loopback():
    assert towards("10.1.2.3", 4, 4)["GLOO_SOCKET_IFNAME"] in LOOPBACKS


def test_ranks_of_several_hosts_use_the_interface_towards_the_master(monkeypatch):
    monkeypatch.setattr(interfaces, "route_to", lambda master: {"10.1.2.3": "10.1.2.4"}[master])
    monkeypatch.setattr(interfaces, "interface_of", lambda address: {"10.1.2.4": "eth7"}[address])
    assert towards("10.1.2.3", 4, 2) == {"GLOO_SOCKET_IFNAME": "eth7", "NCCL_SOCKET_IFNAME": "eth7"}


def test_a_master_that_is_its_hosts_loopback_is_refused_if_there_are_other_hosts():
    with pytest.raises(ToolkitError, match=r"MASTER_ADDR=127.0.0.1 .* 2 of the 4 ranks are on other hosts: give an"):
        towards("127.0.0.1", 4, 2)
    # A launcher that does not say how many ranks this host has.
    assert towards("127.0.0.1", 4, None)["NCCL_SOCKET_IFNAME"] in LOOPBACKS


def test_connections_are_given_up_after_silence():
    with socket.create_server(("127.0.0.1", 0)) as desk, socket.create_connection(desk.getsockname()) as mine:
        theirs, _ = desk.accept()
        with theirs:
            assert limit_silence(8.0) >= 2
            for end in (mine, theirs):
                assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 8000
                assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            mine.sendall(b"still open")
            assert theirs.recv(16) == b"still open"
        assert not desk.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_the_look_for_connections_ends_with_its_block():
    with noticed_links():
        assert "toolkit-links" in {thread.name for thread in threading.enumerate()}
    assert "toolkit-links" not in {thread.name for thread in threading.enumerate()}


def agreement(store, rank: int = 0, timeout: float = 0.3) -> Agreement:
    return Agreement(store, rank, 2, timeout)


def joined(store, rank: int, timeout: float = 20.0) -> Launched:
    return Launched(rank, 2, torch.device("cpu"), False, agreement(store, rank, timeout), (FailureFlag(store, rank),))


def test_who_is_missing_is_named():
    store = dist.HashStore()
    with pytest.raises(RunTimeout, match=r"rank\(s\) 1 of 2 were not ready after 0.3 s") as caught:
        agreement(store).tell("ready", "a", [FailureFlag(store, 0)])
    assert caught.value.ranks == (1,)


def test_who_fails_before_he_is_ready_is_named():
    store = dist.HashStore()
    with pytest.raises(ValueError, match="on purpose"), FailureFlag(store, 1).watch():
        raise ValueError("on purpose")
    with pytest.raises(RankFailed, match="rank 1 raised ValueError: on purpose"):
        joined(store, 0).agree("a")


def test_ranks_that_have_different_inputs_raise():
    store = dist.HashStore()
    other = threading.Thread(target=joined(store, 0).agree, args=("2 x 1 shards of 1x4x7x9",))
    other.start()
    with pytest.raises(PlanError, match="rank 1 has 2 x 1 shards of 1x4x8x9, but rank 0 has 2 x 1 shards of 1x4x7x9"):
        joined(store, 1).agree("2 x 1 shards of 1x4x8x9")
    other.join()


def test_a_store_that_is_gone_is_named():
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    store = dist.PrefixStore("a", dist.TCPStore("127.0.0.1", server.port, timeout=timedelta(seconds=5)))
    flag, port = FailureFlag(store, 3), server.port
    flag.check()
    del server
    with pytest.raises(RunError, match=rf"rank 3 has lost the ranks' common store at 127.0.0.1:{port} "):
        flag.check()
    flag._announce(ValueError("what a rank raises must not be lost because nobody can be told"))


def test_one_rank_is_a_launch_too(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as desk:
        port = desk.getsockname()[1]
    variables = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1, "MASTER_PORT": port}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with launched_group("cpu", 20.0) as here:
        here.agree("anything")
        assert os.environ["GLOO_SOCKET_IFNAME"] in LOOPBACKS
        assert (here.rank, here.size, here.where) == (0, 1, "")
    assert "GLOO_SOCKET_IFNAME" not in os.environ
    assert not dist.is_initialized()


def test_a_rank_that_fails_while_others_still_connect_is_named():
    """It had joined, closed its connections, and then said why: the others said that they could not connect."""
    store = dist.HashStore()
    announced = threading.Timer(0.3, lambda: store.set(KEY, json.dumps([2, "ModelError: no such folder", "traceback"])))

    def connect() -> None:
        announced.start()
        raise RuntimeError("Connection closed by peer")

    with pytest.raises(RankFailed, match="rank 2 raised ModelError: no such folder"):
        launched._while_watching(FailureFlag(store, 0), connect)
    announced.join()
