"""Agents on two hosts that share no loopback, and a cluster over them."""

from __future__ import annotations

import pytest
from support.netns import Agents, new_key, two_hosts

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
