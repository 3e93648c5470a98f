"""The set-up that every worker of a cluster starts with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import torch

from toolkit.cluster.engines.time_limit import time_limit
from toolkit.distributed.comm.group import check_backend
from toolkit.distributed.comm.meeting import Meeting
from toolkit.errors import PlanError
from toolkit.geometry.checks import check_choice, check_counts, shown
from toolkit.numerics.convolution import Convolutions
from toolkit.runs.device import device_of_rank, exists, named_device


def first_device(device: object) -> torch.device:
    """The device of rank 0.

    Raises:
        PlanError: If torch cannot name the device, or the machine does not have it.

    Example:
        >>> first_device("cpu")
        device(type='cpu')
        >>> first_device("meta")
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: device='meta': this machine has no such device. Leave out device= to use what it has.
    """
    if device is not None and not exists(named_device(device)):
        raise PlanError(f"device={device!r}: this machine has no such device. Leave out device= to use what it has.")
    return device_of_rank(0, device)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker needs to know when it starts.

    Attributes:
        rank: Its rank.
        size: Number of ranks.
        device: The device, as :func:`toolkit.runs.device.device_of_rank` takes it.
        backend: The backend of the process group.
        threads: CPU threads for the worker's operations.
        convolutions: The kernels that small fp32 CPU convolutions use.
        keep_memory: Whether the C library keeps freed buffers for reuse.
        meeting: Where the ranks meet; None until the engine has said it.
        generation: The number of groups that have used the file before.
        timeout: Seconds after which an operation of the group gives up.
        one_card: Whether ranks share a device on the device's own backend.
        environment: The environment variables of the process that started the worker, at that moment.
        place: Its place among the ranks of its host; None: its rank.
    """

    rank: int
    size: int
    device: str | None
    backend: str
    threads: int
    convolutions: Convolutions
    keep_memory: bool
    meeting: Meeting | None
    generation: int
    timeout: float
    one_card: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    place: int | None = None

    def __post_init__(self) -> None:
        check_counts(ranks=self.size, threads=self.threads)
        if not isinstance(self.keep_memory, bool):
            raise PlanError(f"keep_memory={shown(self.keep_memory)}: must be True or False.")
        if not time_limit(self.timeout):
            raise PlanError(f"timeout={shown(self.timeout)}: must be above 0: ranks wait for each other.")
        check_backend(self.backend)
        check_choice("convolutions", self.convolutions, choices=get_args(Convolutions))
