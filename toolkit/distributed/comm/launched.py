"""Processes that a launcher such as torchrun has started: their group, and their device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from toolkit.distributed.comm.group import backend_of, leave
from toolkit.runs.device import device_of_rank

_SAID = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def launched_ranks() -> int | None:
    """How many ranks a launcher has started, this one among them; None where there was none."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in _SAID) else None


@contextmanager
def launched_group(device: str | None = None) -> Iterator[tuple[int, torch.device]]:
    """The default group of all ranks inside the ``with`` block; gives this one's rank and device."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    mine = device_of_rank(int(os.environ.get("LOCAL_RANK", rank)), device)
    if mine.type != "cpu":
        torch.accelerator.set_device_index(mine.index or 0)
    dist.init_process_group(backend_of(mine, int(os.environ.get("LOCAL_WORLD_SIZE", size))))
    try:
        yield rank, mine
    finally:
        leave()
