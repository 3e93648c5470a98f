"""Process groups of ranks that do not exist, listed in torch's own tables for a while: these are private.

diffusers' context parallelism asks torch for its rank in a group, the group's size and its backend. torch answers for
groups that are in its tables. ``new_group`` would put them there, but it needs the other ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup, distributed_c10d

_ONE_AT_A_TIME = Lock()


class SilentGroup(ProcessGroup):
    """A group as one of its ranks sees it. It moves nothing.

    Args:
        name: Its name in torch's tables.
        place: The rank's place in the group.
        size: The number of ranks.
        gather: Called in place of ``dist.all_gather``, with the outputs and this rank's tensor.
    """

    def __init__(self, name: str, place: int, size: int, gather: Callable[[Sequence[Tensor], Tensor], None]) -> None:
        super().__init__(place, size)  # type: ignore[call-arg, arg-type]
        self._name, self._gather = name, gather

    @property
    def group_name(self) -> Any:
        """Its name, by which operators know it."""
        return self._name

    def allgather(self, outputs: Any, inputs: Any, opts: Any = None) -> Any:
        """Take the place of a gathering."""
        self._gather(outputs[0], inputs[0])


class SilentGroups:
    """Silent groups that torch knows until :meth:`close`.

    Where the process has no default group, it has one of this process alone meanwhile, because torch asks that for this
    process's rank. Whoever else has silent groups at the same time waits until these are closed.
    """

    def __init__(self) -> None:
        self._groups: list[SilentGroup] = []
        self._alone = False

    def add(self, group: SilentGroup, backend: str) -> None:
        """Make a group known.

        Args:
            group: The group.
            backend: The name of its backend, as a run's group has it.
        """
        if not self._groups:
            _ONE_AT_A_TIME.acquire()
            self._alone = not dist.is_initialized()
            if self._alone:
                dist.group.WORLD = ProcessGroup(0, 1)  # type: ignore[call-arg, arg-type]
        self._groups.append(group)
        world: Any = distributed_c10d._world
        world.pg_map[group] = backend, None
        # All silent groups are seen by this one process; in each it is another rank.
        world.pg_group_ranks[group] = {dist.get_rank(): group.rank()}
        distributed_c10d._register_process_group(group.group_name, group)

    def close(self) -> None:
        """Take the groups out of torch's tables again."""
        if not self._groups:
            return
        world: Any = distributed_c10d._world
        for group in self._groups:
            del world.pg_map[group], world.pg_group_ranks[group]
            distributed_c10d._unregister_process_group(group.group_name)
        self._groups.clear()
        if self._alone:
            dist.group.WORLD = None
        _ONE_AT_A_TIME.release()
