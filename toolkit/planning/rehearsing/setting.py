"""What a rehearsal is told of devices and links, and what it takes where it is told nothing."""

from __future__ import annotations

from typing import Any

from toolkit.errors import PlanError
from toolkit.geometry.topology import Topology
from toolkit.planning.rehearsing.profile import Profile


def device_type(model: Any, device: str | None, profile: Profile | None) -> str:
    """The type of device that the ranks have: the given one, the profile's, or the model's.

    Raises:
        PlanError: If the profile is of another one.
    """
    if device is not None and profile is not None and device != profile.device:
        raise PlanError(f"device={device!r} with a profile of {profile.device}: leave out device=.")
    held = next(model.parameters()).device.type
    return device or (profile.device if profile is not None else "cpu" if held == "meta" else held)


def links_of(topology: Topology | None, profile: Profile | None, ranks: int) -> Topology:
    """The links between ranks: the given ones, the profile's between all, or links that take no time.

    Raises:
        PlanError: If the topology has too few ranks.
    """
    if topology is not None and topology.ranks < ranks:
        raise PlanError(f"the plan is for {ranks} ranks, the topology has {topology.ranks}: give a larger one.")
    link = None if profile is None else profile.link
    return topology or (Topology(1, ranks) if link is None else Topology(1, ranks, within=link))
