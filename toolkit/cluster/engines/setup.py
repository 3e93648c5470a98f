"""The set-up that every worker of a cluster starts with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.numerics.convolution import Convolutions, convolution_kernels


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
        meeting: The path of the file at which the ranks meet.
        generation: The number of groups that have used the file before.
        timeout: Seconds after which an operation of the group gives up.
        one_card: Whether ranks share a device on the device's own backend.
        environment: The environment variables of the kernel when the worker was started.
    """

    rank: int
    size: int
    device: str | None
    backend: str
    threads: int
    convolutions: Convolutions
    keep_memory: bool
    meeting: str
    generation: int
    timeout: float
    one_card: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        convolution_kernels(self.convolutions)  # refuses an unknown choice
