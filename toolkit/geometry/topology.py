"""Hosts, the ranks on them, and the links between ranks: how long a message takes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from math import inf

from toolkit.errors import PlanError
from toolkit.geometry.checks import (
    MOST_QUANTITY,
    check_collection,
    check_counts,
    check_ints,
    check_kind,
    check_parts,
    check_tuple,
    is_int,
    is_number,
    shown,
)


@dataclass(frozen=True, slots=True)
class Link:
    """A connection between two ranks, in one direction.

    Attributes:
        bandwidth: Bytes per second.
        latency: Seconds that the shortest message takes.

    Raises:
        PlanError: If the bandwidth is not positive, or the latency is negative.

    Example:
        >>> Link(bandwidth=10e9, latency=5e-6).seconds(20_000_000)
        0.002005
    """

    bandwidth: float
    latency: float = 0.0

    def __post_init__(self) -> None:
        if not is_number(self.bandwidth) or not self.bandwidth > 0:
            raise PlanError(f"bandwidth={shown(self.bandwidth)}: must be a positive number of bytes per second.")
        if MOST_QUANTITY < self.bandwidth < inf:
            raise PlanError(f"bandwidth={shown(self.bandwidth)}: must be at most {MOST_QUANTITY:g}, or infinite.")
        if not is_number(self.latency) or not 0 <= self.latency <= MOST_QUANTITY:
            raise PlanError(f"latency={shown(self.latency)}: must be a number of seconds, at least 0.")

    def seconds(self, size: int) -> float:
        """The time that a message of ``size`` bytes takes if nothing else uses the link."""
        check_ints(0, size=size)
        return self.latency + size / self.bandwidth

    def __str__(self) -> str:
        return f"{self.bandwidth / 1e9:.3g} GB/s, {self.latency * 1e6:.3g} µs"


@dataclass(frozen=True, slots=True)
class Topology:
    """Hosts with their ranks, and the links within and between them.

    Ranks are counted host by host: with four per host, ranks 0 to 3 are on host 0.

    Attributes:
        hosts: Number of hosts.
        per_host: Number of ranks on each host: one number for all, or a tuple with the number of each.
        within: The link between two ranks on one host.
        between: The link between two ranks on different hosts; None: as within a host.

    Raises:
        PlanError: If there is less than one host, less than one rank on a host, or not one number for each host.

    Example:
        >>> slow, fast = Link(bandwidth=1e9), Link(bandwidth=100e9)
        >>> two = Topology(hosts=2, per_host=4, within=fast, between=slow)
        >>> two.ranks, two.host_of(5), two.link(3, 4) is slow, two.link(4, 5) is fast
        (8, 1, True, True)
        >>> Topology(hosts=2, per_host=(3, 1)).host_of(3)
        1
    """

    hosts: int = 1
    per_host: int | tuple[int, ...] = 1
    within: Link = Link(bandwidth=float("inf"))
    between: Link | None = None

    def __post_init__(self) -> None:
        check_counts(hosts=self.hosts)
        if isinstance(self.per_host, tuple):
            check_tuple("per_host", self.per_host, kind=int, what="ints, the number of ranks on each host")
            if len(self.per_host) != self.hosts:
                raise PlanError(
                    f"per_host={shown(self.per_host)}: has {len(self.per_host)} numbers for hosts={self.hosts}. Give "
                    "one for each host."
                )
            check_counts(**{f"per_host[{host}]": count for host, count in enumerate(self.per_host)})
            if len(set(self.per_host)) == 1:
                # Equal by value: the same hosts are the same topology, however they were given.
                object.__setattr__(self, "per_host", self.per_host[0])
        else:
            check_counts(per_host=self.per_host)
        check_parts(self.ranks, what=f"hosts={self.hosts} of per_host={shown(self.per_host)} ranks")
        for name in ("within", "between"):
            link = getattr(self, name)
            if not isinstance(link, Link) and not (name == "between" and link is None):
                raise PlanError(f"{name}={shown(link)}: must be a tk.Link.")

    @classmethod
    def of_hosts(
        cls, hosts: Sequence[str], within: Link = Link(bandwidth=float("inf")), between: Link | None = None
    ) -> Topology:
        """The topology of ranks whose hosts are known by name, as in ``run.record.what["hosts"]``.

        Args:
            hosts: The host of each rank.
            within: The link between two ranks on one host.
            between: The link between two ranks on different hosts; None: as within a host.

        Raises:
            PlanError: If there is no rank, or the ranks of a host do not follow each other.

        Example:
            >>> Topology.of_hosts(["a", "a", "a", "b"]).per_host
            (3, 1)
        """
        check_collection("hosts", hosts, what="names, the host of each rank")
        runs = [(name, len(list(ranks))) for name, ranks in groupby(hosts)]
        if not runs or not all(isinstance(name, str) for name, _ in runs):
            raise PlanError(f"hosts={shown(hosts)}: must be a list of names, the host of each rank.")
        if len({name for name, _ in runs}) < len(runs):
            raise PlanError(f"hosts={shown(hosts)}: ranks are counted host by host. Name each host's ranks together.")
        return cls(len(runs), tuple(count for _, count in runs), within, between)

    @property
    def ranks(self) -> int:
        """Number of ranks on all hosts."""
        return sum(self.per_host) if isinstance(self.per_host, tuple) else self.hosts * self.per_host

    def host_of(self, rank: int) -> int:
        """The host that a rank is on.

        Raises:
            PlanError: If there is no such rank.
        """
        if not is_int(rank) or not 0 <= rank < self.ranks:
            raise PlanError(f"rank {shown(rank)}: {self} has the ranks 0 to {self.ranks - 1}.")
        if isinstance(self.per_host, tuple):
            return bisect_right(tuple(accumulate(self.per_host)), rank)
        return rank // self.per_host

    def link(self, source: int, to: int) -> Link:
        """The link from one rank to another.

        Raises:
            PlanError: If there is no such rank.
        """
        same = self.host_of(source) == self.host_of(to)
        return self.within if same or self.between is None else self.between

    def __str__(self) -> str:
        far = "" if self.between is None or self.hosts == 1 else f", between them {self.between}"
        hosts = f"{self.hosts} host" + ("s" if self.hosts > 1 else "")
        if isinstance(self.per_host, tuple):
            ranks = f"{' + '.join(map(str, self.per_host))} ranks"
        else:
            ranks = f"{self.per_host} rank" + ("s" if self.per_host > 1 else "")
        return f"{hosts} of {ranks}, within a host {self.within}{far}"


def check_topology(topology: object) -> None:
    """Refuse anything that is not a topology.

    Example:
        >>> check_topology(2)
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: topology=2: must be a tk.Topology, such as tk.Topology(hosts=2, per_host=4).
    """
    check_kind("topology", topology, kind=Topology, remedy="a tk.Topology, such as tk.Topology(hosts=2, per_host=4)")


def hosts_of(topology: Topology, ranks: int) -> tuple[int, ...]:
    """The host of each of the first ranks of a topology.

    Raises:
        PlanError: If the topology has fewer ranks.

    Example:
        >>> hosts_of(Topology(hosts=2, per_host=2), 3)
        (0, 0, 1)
    """
    check_topology(topology)
    if topology.ranks < ranks:
        raise PlanError(f"the plan is for {ranks} ranks, the topology has {topology.ranks}: give a larger one.")
    counts = topology.per_host if isinstance(topology.per_host, tuple) else (topology.per_host,) * topology.hosts
    return tuple(host for host, count in enumerate(counts) for _ in range(count))[:ranks]


def names_of(topology: Topology) -> list[str]:
    """A name for the host of each rank.

    Example:
        >>> names_of(Topology(hosts=2, per_host=2))
        ['host 0', 'host 0', 'host 1', 'host 1']
    """
    return [f"host {host}" for host in hosts_of(topology, topology.ranks)]
