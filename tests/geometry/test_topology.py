"""Hosts and links: which link is between two ranks, how long a message takes on it, and what is refused."""

from __future__ import annotations

import pytest

from toolkit.errors import PlanError
from toolkit.geometry.topology import Link, Topology, hosts_of

FAST, SLOW = Link(bandwidth=100e9), Link(bandwidth=1e9, latency=2e-6)
TWO_HOSTS = Topology(hosts=2, per_host=3, within=FAST, between=SLOW)


def test_a_message_takes_the_latency_and_its_bytes_at_the_bandwidth() -> None:
    link = Link(bandwidth=8.0, latency=0.5)
    assert [link.seconds(size) for size in (0, 4, 16)] == [0.5, 1.0, 2.5]
    assert Link(bandwidth=8.0).seconds(4) == 0.5
    assert Link(bandwidth=float("inf"), latency=0.25).seconds(10**12) == 0.25


def test_ranks_are_counted_host_by_host() -> None:
    assert TWO_HOSTS.ranks == 6
    assert [TWO_HOSTS.host_of(rank) for rank in range(6)] == [0, 0, 0, 1, 1, 1]


def test_ranks_of_one_host_use_the_link_within_and_others_the_link_between() -> None:
    for source in range(6):
        for to in range(6):
            expected = FAST if source // 3 == to // 3 else SLOW
            assert TWO_HOSTS.link(source, to) is expected


def test_without_a_link_between_hosts_they_use_the_link_within() -> None:
    assert Topology(hosts=2, per_host=1, within=SLOW).link(0, 1) is SLOW


def test_hosts_may_have_different_numbers_of_ranks() -> None:
    uneven = Topology(hosts=3, per_host=(3, 1, 2), within=FAST, between=SLOW)
    assert uneven.ranks == 6
    assert [uneven.host_of(rank) for rank in range(6)] == [0, 0, 0, 1, 2, 2]
    assert hosts_of(uneven, 5) == (0, 0, 0, 1, 2)
    assert uneven.link(3, 4) is SLOW
    assert str(uneven).startswith("3 hosts of 3 + 1 + 2 ranks, within a host 100 GB/s")


def test_equal_hosts_are_the_same_topology_however_they_are_given() -> None:
    assert Topology(2, (3, 3), FAST, SLOW) == TWO_HOSTS == Topology.of_hosts(["a"] * 3 + ["b"] * 3, FAST, SLOW)
    assert hash(Topology(2, (3, 3))) == hash(Topology(2, 3))
    assert Topology.of_hosts(("x", "y", "y")).per_host == (1, 2)


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        (["a", "b", "a"], "ranks are counted host by host"),
        ([], "must be a list of names"),
        ([1, 2], "must be a list of names"),
        ("ab", "must be a list of names"),
        (3, "must be a list of names"),
    ],
)
def test_hosts_that_ranks_are_not_counted_by_are_refused(hosts: object, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Topology.of_hosts(hosts)


@pytest.mark.parametrize(
    ("hosts", "per_host", "message"),
    [
        (2, (1, 2, 3), r"per_host=\(1, 2, 3\): has 3 numbers for hosts=2"),
        (2, (1, 0), r"per_host\[1\]=0: must be an int of at least 1"),
        (2, (1, 2.0), "must be a tuple of ints"),
        (2, [1, 2], r"per_host=\[1, 2\]: must be an int of at least 1"),
        (2, (2**20, 1), "a plan has at most 1048576 parts, not 1048577"),
    ],
)
def test_unequal_hosts_that_cannot_be_are_refused(hosts: int, per_host: object, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Topology(hosts, per_host)


def test_by_default_there_is_one_rank_and_links_take_no_time() -> None:
    assert Topology().ranks == 1
    assert Topology(per_host=2).link(0, 1).seconds(10**12) == 0.0


def test_links_and_topologies_print() -> None:
    assert str(SLOW) == "1 GB/s, 2 µs"
    assert str(TWO_HOSTS) == "2 hosts of 3 ranks, within a host 100 GB/s, 0 µs, between them 1 GB/s, 2 µs"
    assert str(Topology(hosts=1, per_host=3, within=FAST, between=SLOW)) == (
        "1 host of 3 ranks, within a host 100 GB/s, 0 µs"
    )


@pytest.mark.parametrize("bandwidth", [0, -1.0, float("nan"), True, "10", None])
def test_a_bandwidth_that_is_not_positive_is_refused(bandwidth: object) -> None:
    with pytest.raises(PlanError) as refusal:
        Link(bandwidth=bandwidth)
    assert str(refusal.value) == f"bandwidth={bandwidth!r}: must be a positive number of bytes per second."


@pytest.mark.parametrize("latency", [-1e-6, float("inf"), float("nan"), False, "5", None])
def test_a_latency_that_is_not_a_duration_is_refused(latency: object) -> None:
    with pytest.raises(PlanError) as refusal:
        Link(bandwidth=1.0, latency=latency)
    assert str(refusal.value) == f"latency={latency!r}: must be a number of seconds, at least 0."


@pytest.mark.parametrize("name", ["hosts", "per_host"])
@pytest.mark.parametrize("count", [0, -2, True, 1.0, "2", None])
def test_counts_below_one_are_refused(name: str, count: object) -> None:
    with pytest.raises(PlanError) as refusal:
        Topology(**{name: count})
    assert str(refusal.value) == f"{name}={count!r}: must be an int of at least 1."


@pytest.mark.parametrize(("name", "link"), [("within", None), ("within", 10e9), ("between", 10e9)])
def test_what_is_not_a_link_is_refused(name: str, link: object) -> None:
    with pytest.raises(PlanError) as refusal:
        Topology(**{name: link})
    assert str(refusal.value) == f"{name}={link!r}: must be a tk.Link."


def test_ranks_that_do_not_exist_are_refused() -> None:
    for rank in (-1, 6):
        with pytest.raises(PlanError, match=rf"^rank {rank}: 2 hosts of 3 ranks, .* has the ranks 0 to 5\.$"):
            TWO_HOSTS.host_of(rank)
    for ends in ((0, 6), (-1, 0)):
        with pytest.raises(PlanError, match="has the ranks 0 to 5"):
            TWO_HOSTS.link(*ends)
