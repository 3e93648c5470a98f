"""The engine that a cluster has where nobody names another."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.cluster.engines.local.launch import start_of
from toolkit.cluster.engines.local.local_engine import LocalEngine
from toolkit.cluster.engines.opened import Opened
from toolkit.cluster.engines.setup import first_device
from toolkit.distributed.comm.group import backend_of
from toolkit.distributed.comm.one_card import share_one_card


@dataclass(frozen=True, slots=True)
class Local:
    """Ranks on this machine.

    Attributes:
        start: How processes are started; see :func:`~toolkit.cluster.engines.local.launch.start_of`.
    """

    start: str | None = None

    def open(self, ranks: int, device: str | None, backend: str | None) -> Opened:
        """An engine for one cluster.

        Raises:
            PlanError: If this machine does not have the device, or the backend cannot serve it.
        """
        first, start = first_device(device), start_of(self.start)
        backend = backend or backend_of(first, ranks)
        return Opened(LocalEngine(start), first, backend, start, one_card=share_one_card(first, ranks, backend))
