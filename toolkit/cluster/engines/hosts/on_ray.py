"""Ranks on the nodes of a Ray cluster: Ray places an agent on each, starts it, and ends it. All else is the agents'."""

from __future__ import annotations

import contextlib
import importlib
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.about import how_to_install
from toolkit.cluster.engines.hosts.hosts_engine import HostsEngine
from toolkit.cluster.engines.hosts.hosts_value import open_hosts
from toolkit.cluster.engines.opened import Opened
from toolkit.cluster.engines.time_limit import time_limit
from toolkit.errors import PlanError, ToolkitError
from toolkit.geometry.checks import check_counts

Node = tuple[str, int, int]
"""A node of Ray's: its address, and its CPUs and accelerators."""


@dataclass(frozen=True, slots=True)
class Ray:
    """Ranks on the nodes of a Ray cluster, as many on each as it has accelerators, or CPUs where none has any.

    Ray is asked for one placement group, with a bundle for each node, and starts an agent in each bundle. The agents
    call this process, as those of :class:`Hosts` do, with a key that is made for this cluster alone. So this process
    must run on a node of the cluster, and Ray Client (``ray://``) is refused.

    Whoever reaches Ray's ports can run code on its nodes, unless Ray itself asks for a token (``RAY_AUTH_MODE``).

    Attributes:
        address: The Ray cluster, as ``ray.init`` takes it. None: the one that this process has joined, or that its
            environment names, or a new one on this machine.
        per_node: Ranks on each node. None: one for each accelerator, or for each CPU.
        patience: Seconds that agents are waited for.

    Raises:
        PlanError: If a value is not possible.

    Example:
        >>> Ray(per_node=2)
        Ray(address=None, per_node=2, patience=120.0)
    """

    address: str | None = None
    per_node: int | None = None
    patience: float = 120.0

    def __post_init__(self) -> None:
        if self.per_node is not None:
            check_counts(per_node=self.per_node)
        if not time_limit(self.patience):
            raise PlanError(f"patience={self.patience}: must be above 0, in seconds.")
        if self.address is not None and self.address.startswith("ray://"):
            raise PlanError(
                f"address={self.address!r}: with Ray Client this process is not on a node of the cluster, and agents "
                "cannot call it. Start the notebook on a node."
            )

    def open(self, ranks: int, device: str | None, backend: str | None) -> Opened:
        """An engine for one cluster, as soon as the agents of enough nodes have called.

        Raises:
            ToolkitError: If Ray is not installed, is not reached, or has no room for the ranks.
        """
        ray = _ray()
        if not ray.is_initialized():
            self._join(ray)
        placed = _Placed(self)
        engine = HostsEngine(
            (ray.util.get_node_ip_address(), 0),
            placed.key,
            patience=self.patience,
            summon=placed.summon,
            dismiss=placed.dismiss,
        )
        return open_hosts(engine, ranks, device=device, backend=backend, how="ray")

    def _join(self, ray: Any) -> None:
        """Make this process one of the Ray cluster's, or start a cluster."""
        try:
            ray.init(address=self.address, log_to_driver=True)
        except ConnectionError as error:
            remedy = "Is it running, and is this the address of its head, with its port?"
            # Ray asks for a token wherever one lies in the home folder of whoever starts the head, where `ray.init()`
            # on one machine puts it; but a process that gives an address shows none unless it is told to.
            if "InvalidAuthToken" in str(error.__cause__):
                remedy = (
                    "It asks for a token. Set RAY_AUTH_MODE=token here and on every node, before Ray starts, where "
                    "~/.ray/auth_token or RAY_AUTH_TOKEN is the head's; or start the head with RAY_AUTH_MODE=disabled."
                )
            raise ToolkitError(f"address={self.address!r}: this Ray cluster was not joined. {remedy}") from error


def _ray() -> Any:
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.util")
    except ImportError as error:
        raise ToolkitError(f"engine=Ray: Ray is not installed. `{how_to_install('ray')}`, on every node.") from error
    return ray


@dataclass(slots=True)
class _Placed:
    """The agents of one cluster, and the placement group that holds their room."""

    wanted: Ray
    key: bytes = field(default_factory=lambda: secrets.token_hex(32).encode())
    group: Any = None
    actors: list[Any] = field(default_factory=list)

    def summon(self, address: tuple[str, int], ranks: int) -> None:
        """Start agents with room for some ranks, this process's node first."""
        ray = _ray()
        slots = self._deal(ranks, own=address[0])
        bundles = [
            # A little of the resource that only this node has ties the bundle to it.
            {"CPU": count, **({"GPU": count} if accelerated else {}), f"node:{node}": 0.001}
            for node, count, accelerated in slots
        ]
        self.group = ray.util.placement_group(bundles, strategy="STRICT_SPREAD")
        if not self.group.wait(self.wanted.patience):
            self.dismiss()
            raise ToolkitError(f"Ray had no room for {ranks} ranks within {self.wanted.patience:.0f} s: {bundles}.")
        strategy = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy
        for place, (_, count, accelerated) in enumerate(slots):
            actor = ray.remote(_AgentActor).options(
                num_cpus=count,
                num_gpus=count if accelerated else 0,
                scheduling_strategy=strategy(self.group, placement_group_bundle_index=place),
            )
            self.actors.append(actor.remote(f"{address[0]}:{address[1]}", self.key, count))

    def _deal(self, ranks: int, *, own: str) -> list[tuple[str, int, bool]]:
        """Deal ranks to nodes, waiting for nodes that are on their way."""
        until = time.monotonic() + self.wanted.patience
        while True:
            try:
                return deal(_nodes(), ranks, own=own, per_node=self.wanted.per_node)
            except ToolkitError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def dismiss(self) -> None:
        """End what Ray has started, and give the room back."""
        ray = _ray()
        if not ray.is_initialized():
            return
        for actor in self.actors:
            with contextlib.suppress(Exception):
                ray.kill(actor)
        if self.group is not None:
            with contextlib.suppress(Exception):
                ray.util.remove_placement_group(self.group)
        self.actors, self.group = [], None


class _AgentActor:
    """A node's agent, in a process of its own: it signals and forks as no process of Ray's may."""

    def __init__(self, address: str, key: bytes, slots: int) -> None:
        command = [sys.executable, "-m", "toolkit", "agent", address, "--key-file", "-", "--once", "--slots"]
        self._agent = subprocess.Popen([*command, str(slots)], stdin=subprocess.PIPE)
        assert self._agent.stdin is not None
        self._agent.stdin.write(key)
        self._agent.stdin.close()

    def wait(self) -> int:
        """The agent's exit status, once it has one."""
        return self._agent.wait()


def deal(nodes: Sequence[Node], ranks: int, *, own: str, per_node: int | None) -> list[tuple[str, int, bool]]:
    """Deal ranks to nodes: this process's own first, each with as many as it has accelerators or CPUs.

    Returns:
        For each node that gets any: its address, how many, and whether each gets an accelerator.

    Raises:
        ToolkitError: If there is no room for all.

    Example:
        >>> deal([("10.0.0.2", 8, 0), ("10.0.0.1", 2, 0)], 4, own="10.0.0.1", per_node=None)
        [('10.0.0.1', 2, False), ('10.0.0.2', 2, False)]
    """
    accelerated = any(accelerators for _, _, accelerators in nodes)
    found, left = [], ranks
    for address, cpus, accelerators in sorted(nodes, key=lambda node: (node[0] != own, node[0])):
        room = min(accelerators if accelerated else cpus, per_node or ranks, left)
        if room > 0:
            found.append((address, room, accelerated))
            left -= room
    if left > 0:
        raise ToolkitError(
            f"{ranks} ranks: the nodes of this Ray cluster have room for {ranks - left} "
            f"({'accelerators' if accelerated else 'CPUs'}, per_node={per_node}). Add nodes, or ask for fewer."
        )
    return found


def _nodes() -> list[Node]:
    alive = [node for node in _ray().nodes() if node["Alive"]]
    return [
        (node["NodeManagerAddress"], int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0)))
        for node in alive
    ]
