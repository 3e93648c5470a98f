"""What the kernel knows of a host: its agent's line, its devices, its ranks and how they are."""

from __future__ import annotations

import ipaddress
import platform
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import torch

from toolkit.cluster.engines.engine_protocol import Ended
from toolkit.cluster.engines.hosts.host_clock import HostClock
from toolkit.cluster.engines.hosts.host_line import HostLine
from toolkit.cluster.engines.packed import Packed
from toolkit.runs.device import device_of_rank


@dataclass(frozen=True, slots=True)
class About:
    """What an agent says of its host first.

    Attributes:
        name: The host's name.
        slots: How many ranks it takes.
        device: The type of its devices.
        devices: How many of them there are; 0 for the CPU.
        versions: Versions by name of what both ends must have alike, because pickles pass between them.
    """

    name: str
    slots: int
    device: str
    devices: int
    versions: dict[str, str]

    @classmethod
    def here(cls, slots: int, name: str | None = None) -> About:
        """What is to be said of this host, with a name of its own if it has none that tells it from others."""
        device = device_of_rank(0)
        devices = 0 if device.type == "cpu" else torch.accelerator.device_count()
        return cls(name or socket.gethostname(), slots, device.type, devices, versions())


def versions() -> dict[str, str]:
    """Versions of what the kernel and its agents must have alike."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, "torch": torch.__version__.split("+")[0], "diffusers": version("diffusers")}


@dataclass(slots=True, eq=False)
class Host:
    """A host whose agent has proved itself.

    Attributes:
        line: The line to its agent.
        about: What the agent said of it; None until it has.
        heard_at: When its agent was last heard, on this machine's clock.
        ranks: Its ranks.
        pids: Their process ids there, by their places on the host; empty until they have been started.
        error: Why they could not be started.
        started: Whether the agent has said that they are, or could not be.
        resting: Whether no rank is left there.
        messages: What its ranks have said and the pool has not taken, by rank.
        ended: How ranks ended, by rank.
        states: What its ranks were last seen doing, by rank.
        clock: Its clock beside this machine's.
    """

    line: HostLine
    about: About | None = None
    heard_at: float = field(default_factory=time.monotonic)
    ranks: list[int] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    error: str | None = None
    started: bool = False
    resting: bool = True
    messages: dict[int, deque[Packed]] = field(default_factory=dict)
    ended: dict[int, Ended] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    clock: HostClock = field(default_factory=HostClock)

    @property
    def is_the_kernels(self) -> bool:
        """Whether the agent runs on the kernel's own machine."""
        return self.line.here == self.line.there

    @property
    def name(self) -> str:
        """The host's name and address."""
        return f"{self.about.name} ({self.line.there})" if self.about is not None else self.line.there

    @property
    def slots(self) -> int:
        """How many ranks it takes."""
        return 0 if self.about is None else self.about.slots

    def order(self) -> tuple[Any, ...]:
        """Where its ranks come among those of all hosts: the kernel's first, then by address and name."""
        address = ipaddress.ip_address(self.line.there)
        return not self.is_the_kernels, address.version, int(address), self.name

    def give(self, ranks: list[int]) -> None:
        """Give it ranks to start."""
        self.ranks, self.pids, self.error = ranks, [], None
        self.started, self.resting = False, not ranks
        self.messages = {rank: deque() for rank in ranks}
        self.ended, self.states = {}, {}

    def lose(self, why: str) -> None:
        """Its ranks are out of reach."""
        cause = f"its host {self.name} is lost: {why}"
        for rank in self.ranks:
            self.ended.setdefault(rank, Ended(None, cause=cause))
        self.error, self.started, self.resting = cause, True, True
