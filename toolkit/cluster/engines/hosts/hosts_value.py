"""Hosts, as users name them."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from toolkit.cluster.engines.hosts.calling import parse_address
from toolkit.cluster.engines.hosts.encrypted import kernels_context
from toolkit.cluster.engines.hosts.handshake import read_key
from toolkit.cluster.engines.hosts.hosts_engine import HostsEngine
from toolkit.cluster.engines.opened import Opened
from toolkit.cluster.engines.time_limit import time_limit
from toolkit.distributed.comm.group import own_backend
from toolkit.errors import PlanError
from toolkit.runs.device import named_device


@dataclass(frozen=True, slots=True)
class Hosts:
    """Ranks on the hosts of agents, which anything may start: ssh, srun, torchrun, Kubernetes.

    On each host, also on this one if it is to have ranks::

        python -m toolkit agent 10.0.0.1:7000 --key-file ~/toolkit.key --slots 4

    The key is checked at both ends before anything is unpickled. Without a certificate, what follows is neither
    encrypted nor signed, and ranks always talk to each other in the clear: use a network that you trust, or a tunnel.

    Attributes:
        address: Where this process listens for agents: one address of this machine, and a port.
        key_file: A file that holds the key, made by ``python -m toolkit agent --new-key FILE`` and copied to all hosts.
        patience: Seconds that agents are waited for.
        certificate: A file with the certificate that this process shows to agents, which then talk to it by TLS. None:
            in the clear.
        private_key: The file with the certificate's private key.

    Raises:
        PlanError: If a value is not possible.
        ToolkitError: If there is no such address or key file.

    Example:
        >>> Hosts("10.0.0.1:7000", "toolkit.key").patience
        60.0
    """

    address: str
    key_file: str | os.PathLike[str]
    patience: float = 60.0
    certificate: str | os.PathLike[str] | None = None
    private_key: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        parse_address(self.address)
        if not time_limit(self.patience):
            raise PlanError(f"patience={self.patience}: must be above 0, in seconds.")
        if (self.certificate is None) != (self.private_key is None):
            raise PlanError("certificate and private_key: give both, or neither.")

    def open(self, ranks: int, device: str | None, backend: str | None) -> Opened:
        """An engine for one cluster, as soon as agents with room for its ranks have called.

        Raises:
            ToolkitError: If they have not after the patience.
            PlanError: If a host has no such device.
        """
        tls = None
        if self.certificate is not None and self.private_key is not None:
            tls = kernels_context(self.certificate, self.private_key)
        address, key = parse_address(self.address), read_key(self.key_file)
        engine = HostsEngine(address, key, patience=self.patience, tls=tls)
        return open_hosts(engine, ranks, device=device, backend=backend, how="hosts")


def open_hosts(engine: HostsEngine, ranks: int, *, device: str | None, backend: str | None, how: str) -> Opened:
    """Wait for the agents of an engine, and choose the device and the backend by what their hosts have."""
    if device is not None:
        named_device(device)
    try:
        found = [host.about for host in engine.gather(ranks) if host.about is not None]
        if device not in (None, "cpu"):
            for about in found:
                if about.device != str(device).partition(":")[0]:
                    raise PlanError(f"device={device!r}: host {about.name} has {about.device} only.")
        kinds = {about.device for about in found}
        if device is None and len(kinds) > 1:
            raise PlanError(f"hosts with {' and '.join(sorted(kinds))}: name one for all ranks by device=.")
        kind = str(device).partition(":")[0] if device is not None else kinds.pop()
        # Ranks of one host may share its devices, so the backend depends on how many ranks each host has.
        own = kind != "cpu" and all(about.devices >= about.slots for about in found)
        backend = backend or (own_backend(torch.device(kind)) if own else "gloo")
    except BaseException:
        engine.close()
        raise
    return Opened(engine, torch.device(kind, 0) if kind != "cpu" else torch.device(kind), backend, how)
