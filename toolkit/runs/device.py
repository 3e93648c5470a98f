"""Devices and their memory, through ``torch.accelerator``. The one file that knows which kinds there are."""

from __future__ import annotations

import os

import torch

from toolkit.errors import PlanError
from toolkit.geometry.checks import shown


def device_of_rank(rank: int, device: str | None = None) -> torch.device:
    """The device on which a rank computes.

    Args:
        rank: the rank.
        device: a device type (``"cpu"``, ``"cuda"``, ...), a device (``"cuda:1"``: the same for every rank), or None:
            the machine's accelerator where there is one, else the CPU. Ranks share devices where there are fewer.

    Example:
        >>> device_of_rank(3, "cpu")
        device(type='cpu')
    """
    if device is not None and (device == "cpu" or ":" in device):
        return torch.device(device)
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is None or (device is not None and device != accelerator.type):
        return torch.device(device or "cpu")
    return torch.device(accelerator.type, rank % torch.accelerator.device_count())


def processors() -> int:
    """How many processors this process may use.

    Example:
        >>> processors() >= 1
        True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def named_device(device: object) -> torch.device:
    """The device that a ``device=`` names; it need not exist here.

    Raises:
        PlanError: If torch knows no such name.

    Example:
        >>> named_device("bogus")
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: device='bogus': must be the name of a device, such as 'cpu' or 'cuda:0', or None.
    """
    try:
        return torch.device(device if isinstance(device, str) else "")
    except RuntimeError:
        raise PlanError(
            f"device={shown(device)}: must be the name of a device, such as 'cpu' or 'cuda:0', or None."
        ) from None


def exists(device: torch.device) -> bool:
    """Whether this machine has a device.

    Example:
        >>> exists(torch.device("cpu")), exists(torch.device("meta"))
        (True, False)
    """
    if device.type == "cpu":
        return True
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return (
        accelerator is not None
        and device.type == accelerator.type
        and (device.index or 0) < torch.accelerator.device_count()
    )


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished what was queued; nothing to do on the CPU.

    Nothing to do either where there is no accelerator: a rehearsal of one asks for this.
    """
    if device.type != "cpu" and torch.accelerator.is_available():
        torch.accelerator.synchronize(device)


def reset_peak(device: torch.device) -> int:
    """Start a new peak measurement; returns the bytes allocated now."""
    torch.accelerator.reset_peak_memory_stats(device)
    return int(torch.accelerator.memory_allocated(device))


def allocated(device: torch.device) -> int:
    """Bytes allocated on an accelerator now."""
    return int(torch.accelerator.memory_allocated(device))


def peak(device: torch.device) -> int:
    """Most bytes allocated on an accelerator since :func:`reset_peak`."""
    return int(torch.accelerator.max_memory_allocated(device))
