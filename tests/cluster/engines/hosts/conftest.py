"""Agents on two hosts that share no loopback, and a cluster over them."""

from __future__ import annotations

import subprocess

import pytest
from support.netns import new_key, two_hosts

import toolkit as tk


@pytest.fixture(scope="package")
def hosts():
    with two_hosts() as made:
        yield made


@pytest.fixture(scope="package")
def key(tmp_path_factory):
    return new_key(tmp_path_factory.mktemp("key"))


@pytest.fixture
def on_a(hosts):
    """The test runs on the first host."""
    with hosts.on(0):
        yield hosts


class Agents:
    """The agents of a test module, by host."""

    def __init__(self, hosts, key, port: int) -> None:
        self._hosts, self._key = hosts, key
        self.address = f"{hosts.addresses[0]}:{port}"
        self.running: dict[int, subprocess.Popen] = {}

    def start(self, host: int, *, slots: int = 2, key=None) -> subprocess.Popen:
        words = ("-m", "toolkit", "agent", self.address, "--key-file", str(key or self._key), "--slots", str(slots))
        self.running[host] = self._hosts.python(host, *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return self.running[host]

    def end(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.communicate(timeout=20)

    @property
    def engine(self) -> tk.engines.Hosts:
        return tk.engines.Hosts(self.address, self._key, patience=60.0)


@pytest.fixture(scope="module")
def agents(hosts, key):
    made = Agents(hosts, key, 7000)
    for host in (0, 1):
        made.start(host)
    yield made
    made.end()


@pytest.fixture(scope="module")
def four(hosts, agents):
    """Four ranks, two on each host."""
    with hosts.on(0):
        cluster = tk.Cluster(4, "cpu", engine=agents.engine)
    with cluster:
        yield cluster


@pytest.fixture(scope="module")
def here():
    """Four ranks on this machine, whose bits the others must have."""
    with tk.Cluster(4, "cpu") as cluster:
        yield cluster
