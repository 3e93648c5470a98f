"""Where the ranks of a cluster meet: the store through which they find each other and report failures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from torch import distributed as dist
from torch.distributed import Store

from toolkit.distributed.comm.interfaces import only
from toolkit.distributed.comm.relayed_store import RelayedStore


@dataclass(frozen=True, slots=True)
class Meeting:
    """A meeting place that no other user of the machine can reach.

    torch's store over TCP would be reachable: it listens on every interface, and asks nobody who he is.

    Attributes:
        path: A file in a private folder, which the first rank makes; or the socket of an agent.
        relayed: Whether it is a socket, whose agent passes requests on to the kernel, where ranks of all hosts meet.
        interface: The network interface over which the ranks reach each other; empty: the loopback.
    """

    path: str
    relayed: bool = False
    interface: str = ""

    def store(self, limit: timedelta) -> Store:
        """This process's way to the store.

        Args:
            limit: How long to wait for a key.
        """
        store: Store = RelayedStore(self.path) if self.relayed else dist.FileStore(self.path)
        store.set_timeout(limit)
        return store

    def environment(self) -> dict[str, str]:
        """The environment variables with which a rank listens where the others can reach it, and nowhere else."""
        return only(self.interface)
