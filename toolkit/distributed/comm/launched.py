"""Processes that a launcher such as torchrun has started: their group and their device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from toolkit.distributed.comm.group import backend_of, leave
from toolkit.runs.device import device_of_rank

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def launched_ranks() -> int | None:
    """The number of ranks that a launcher has started, including this one; None without a launcher."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in _VARIABLES) else None


@contextmanager
def launched_group(device: str | None = None) -> Iterator[tuple[int, torch.device]]:
    """Start the default group of all ranks for the ``with`` block.

    Args:
        device: The device to compute on, as ``torch.device`` takes it; None: this rank's accelerator, if there is one.

    Yields:
        This process's rank and device.
    """
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    mine = device_of_rank(int(os.environ.get("LOCAL_RANK", rank)), device)
    if mine.type != "cpu":
        torch.accelerator.set_device_index(mine.index or 0)
    # Ranks of one host may share its accelerators, so the backend depends on how many ranks this host has.
    dist.init_process_group(backend_of(mine, int(os.environ.get("LOCAL_WORLD_SIZE", size))))
    try:
        yield rank, mine
    finally:
        leave()
