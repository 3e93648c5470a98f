"""Engines that have been opened: what starts the ranks of one cluster, and on which devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from toolkit.cluster.engines.engine_protocol import Engine


@dataclass(frozen=True, slots=True)
class Opened:
    """An engine for one cluster, and what it found.

    Attributes:
        engine: The engine.
        device: The device of rank 0.
        backend: The backend of the process group.
        how: How processes are started, in a word.
        one_card: Whether ranks share a device on the device's own backend.
    """

    engine: Engine
    device: torch.device
    backend: str
    how: str
    one_card: bool = False


class Openable(Protocol):
    """What ``Cluster(engine=...)`` takes."""

    def open(self, ranks: int, device: str | None, backend: str | None) -> Opened:
        """Open an engine for one cluster.

        Args:
            ranks: Number of ranks.
            device: As :class:`toolkit.Cluster` takes it.
            backend: As :class:`toolkit.Cluster` takes it.
        """
