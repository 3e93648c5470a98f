"""The ranks of a cluster: what can be asked of them whatever they compute."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Self

import torch

from toolkit.cluster.workers import Workers


class Ranks:
    """A number of ranks, one worker process each.

    Args:
        workers: The processes.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    @property
    def ranks(self) -> int:
        """Number of ranks."""
        return self._workers.setup.size

    @property
    def device(self) -> torch.device:
        """The device of rank 0."""
        return self._workers.device

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers, by rank; empty while they start and after a fault."""
        return self._workers.pids

    def run(self, function: Callable[..., Any], *args: Any, timeout: float | None = None, **kwargs: Any) -> list[Any]:
        """Call a function on every rank, also one that the notebook defines, and collect what it returns.

        The function may use ``torch.distributed``: the default group has all ranks. Tensors among the arguments lie in
        shared memory: clone a tensor before you write to it. Modules among the positional arguments are sent once.

        Args:
            function: Called as ``function(*args, **kwargs)`` on each rank.
            *args: Its arguments.
            timeout: Seconds after which the run is given up.
            **kwargs: Its keyword arguments.

        Returns:
            One result per rank, with tensors on the CPU.

        Raises:
            RunError: If a rank failed, died or was given up; see :meth:`toolkit.Cluster.decode`.
        """
        return self._workers.call_all(function, args, kwargs=kwargs, timeout=timeout)

    @property
    def staged(self) -> bool:
        """Whether messages between ranks pass through the host, as with gloo and an accelerator."""
        return self._workers.staged

    def cancelled_by(self, event: threading.Event) -> AbstractContextManager[None]:
        """Let an event, set on any thread, cancel the runs (and only those) that this thread starts in the block."""
        return self._workers.cancelled_by(event)

    def close(self) -> None:
        """End the workers, and the run that they are busy with. The next run starts new workers."""
        self._workers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Cluster({self._workers})"
