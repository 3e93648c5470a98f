"""Names of ``torch.distributed`` that have no public spelling, each behind a function of ours."""

from __future__ import annotations

import torch.distributed as dist
from torch.distributed import ProcessGroup, Store
from torch.distributed._functional_collectives import AsyncCollectiveTensor

__all__ = ["AsyncCollectiveTensor", "abort_group", "store_of"]
# The type of a functional collective's result until somebody waits for it: torch has no public name for it. Without it,
# a result that is still under way could not be told from a plain tensor.


def store_of(group: ProcessGroup | None) -> Store:
    """The key-value store of a group; None: of the default group.

    The reason for torch's private function: ranks report failures through the store that their group already has, and
    torch offers no public way from a group to its store. Without it, every group would need a store of its own.
    """
    group = group or dist.group.WORLD
    assert group is not None
    return dist.distributed_c10d._get_process_group_store(group)


def abort_group(group: ProcessGroup | None) -> None:
    """End the communicators of a group at once; None: of the default group.

    The reason for a method that torch does not document: the public ``destroy_process_group`` waits for what is under
    way, which is what never ends. Without it, a kernel that waits on the device for a rank that failed holds this
    process until torch's own watchdog ends the process.
    """
    group = group or dist.group.WORLD
    assert group is not None
    group.abort()
