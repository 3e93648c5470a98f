"""Process groups: who is in them, and how they start and end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup, Store, Work

from toolkit.distributed.comm.descriptors import require_descriptors
from toolkit.distributed.comm.introductions import introduce
from toolkit.distributed.comm.line import GroupLine, Line
from toolkit.distributed.comm.meeting import Meeting
from toolkit.distributed.comm.process_group_compat import abort_group, store_of
from toolkit.errors import PlanError
from toolkit.geometry.checks import shown

MOST_IN_SEVERAL = 128
"""Ranks up to which gloo gets further groups, because messages in one group wait for those before them.

Each group takes a connection, and with it a file descriptor, to every other rank, and processes commonly may open
1,024. So 256 ranks have one group, for messages of all purposes.
"""


@dataclass(frozen=True, slots=True)
class Member:
    """This process as one rank of a group.

    Attributes:
        group: The group; None for the default group, and for a process that runs alone.
        rank: This process's rank in the group.
        size: Number of ranks in the group.
        purpose: What the group is for, where a call has several; see :class:`Groups`.
    """

    group: ProcessGroup | None
    rank: int
    size: int
    purpose: str = ""

    @classmethod
    def of(cls, group: ProcessGroup | None) -> Member:
        """Find this process's place in a group.

        Args:
            group: The group; None: the default group, or this process alone if no group was started.

        Raises:
            PlanError: If this process is not in the group.
        """
        if group is None and not dist.is_initialized():
            return cls(None, 0, 1)
        rank = dist.get_rank(group)
        if rank < 0:
            raise PlanError(
                f"global rank {dist.get_rank()} is not in the given group: make this call only on the group's ranks."
            )
        return cls(group, rank, dist.get_world_size(group))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The global number of each rank of the group: those by which device meshes name their ranks."""
        return tuple(dist.get_process_group_ranks(self.group)) if self.size > 1 else (0,)

    def post(self, transfers: Sequence[tuple[Tensor, int, bool]]) -> list[Work]:
        """Start transfers with other ranks of the group, as one group of the backend if it has such.

        This is the only place that starts transfers between two ranks: what is started one by one can wait for each
        other for ever, see queue_check.py.

        Args:
            transfers: For each the tensor, the other rank, and whether to send. Nobody may write to a tensor until its
                transfer is done.

        Returns:
            One work for each transfer, in order; or one for all, if the backend has groups.
        """
        ops = [
            dist.P2POp(dist.isend if sends else dist.irecv, tensor, group=self.group, group_peer=peer)
            for tensor, peer, sends in transfers
        ]
        works = dist.batch_isend_irecv(ops)
        if not works:
            # torch returns nothing, and transfers nothing, on a process outside the group.
            raise RuntimeError("this process is not in the group.")
        return works

    def abort(self) -> None:
        """End the group's communicators at once, also while kernels of the device wait in them."""
        abort_group(self.group)

    def through_host(self, device: torch.device) -> bool:
        """Whether tensors on ``device`` must be copied to the host to be sent: gloo moves host memory only."""
        # A process that runs alone has no group whose backend could be asked, and sends nothing.
        return device.type != "cpu" and self.size > 1 and moves_host_memory(dist.get_backend(self.group), device)

    def connect(self) -> None:
        """Make the communicator of an accelerator's backend; every rank of the group calls this.

        Such a backend makes it with the group's first operation, in which every rank must take part. A first operation
        of a few ranks, such as the exchange of a plan that is smaller than the group, would hang.
        """
        if self.queues_on_device:
            accelerator = torch.accelerator.current_accelerator()
            dist.all_reduce(torch.zeros(1, device=accelerator), group=self.group)

    @property
    def queues_on_device(self) -> bool:
        """Whether the group's messages wait in a queue on an accelerator, each behind the one before it."""
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return self.size > 1 and accelerator is not None and not self.through_host(accelerator)

    @property
    def store(self) -> Store | None:
        """The group's key-value store; None if this process runs alone."""
        if self.size == 1:
            return None
        return store_of(self.group)


class Groups:
    """Further groups of the same ranks: messages in one group never wait for messages in another.

    A group is created when it is first asked for, and kept. All ranks of the default group must ask for the same groups
    in the same order, even ranks that will not use them. torch could create a group among its own ranks alone, but it
    names the group by how many groups the process has created before, so ranks that have created different numbers of
    groups would wait for each other's keys and deadlock.

    A group other than the default one gets no further groups, and neither do many ranks on gloo (see
    :data:`MOST_IN_SEVERAL`). All their messages share the one group. On gloo that is slower but safe: their order is
    the same on every rank, and no transfer waits for another one. On a backend with one queue for each rank it would
    not be, so it is refused.
    """

    def __init__(self) -> None:
        self._made: dict[str, ProcessGroup] = {}
        self._among: dict[tuple[tuple[int, ...], ...], ProcessGroup | None] = {}

    def like(self, member: Member, purpose: str) -> Member:
        """Find this process's place in the group for a purpose; create and connect the group if it does not exist yet.

        Args:
            member: This process in the default group, or in another group, which is then returned as it is.
            purpose: The name of the group.

        Raises:
            PlanError: If ``member`` is in another group than the default one, on a backend with queues on a device.
        """
        if member.group is not None and member.queues_on_device:
            raise PlanError(
                f"stages over a process group of their own on {dist.get_backend(member.group)}: outputs and results "
                "would wait for each other in its one queue. Leave out group=: the default group gets further groups."
            )
        if member.size == 1 or member.group is not None:
            return member
        if member.size > MOST_IN_SEVERAL and not member.queues_on_device:
            return member
        if purpose in self._made:
            return Member(self._made[purpose], member.rank, member.size, purpose)
        require_descriptors(member.size)
        made = Member(dist.new_group(backend=dist.get_backend()), member.rank, member.size, purpose)
        assert made.group is not None
        self._made[purpose] = made.group
        _begin(made)
        return made

    def among(self, member: Member, lines: tuple[tuple[int, ...], ...]) -> Line | None:
        """Return the line of ranks that this one is on, with a group of its own; None if this rank is on no line.

        Args:
            member: This process in the default group.
            lines: The ranks of each line; no rank is on more than one.

        Raises:
            PlanError: If ``member`` is in another group than the default one.
        """
        if member.group is not None:
            raise PlanError(
                f"groups of ranks {lines} can only be made from the default group: leave out group=, or give a mesh "
                "that has them."
            )
        if lines not in self._among:
            # Every rank creates the groups of all lines, its own and the others: see the class.
            # gloo is named with its device, because diffusers gathers lengths of sequences on the CPU only if the name
            # of the backend says "cpu"; otherwise on torch's accelerator, even where the ranks compute on the CPU.
            named = dist.get_backend()
            backend = "cpu:gloo" if named == "gloo" else named
            made = [dist.new_group(list(line), backend=backend) for line in lines]
            mine = (group for line, group in zip(lines, made, strict=True) if member.rank in line)
            self._among[lines] = own = next(mine, None)
            if own is not None:
                _begin(Member.of(own))
        group = self._among[lines]
        return None if group is None else GroupLine(group)

    def close(self) -> None:
        """Destroy the groups."""
        for group in (*self._made.values(), *self._among.values()):
            if group is not None:
                dist.destroy_process_group(group)
        self._made.clear()
        self._among.clear()


def _begin(member: Member) -> None:
    """Connect a new group; where it moves host memory, its ranks introduce themselves."""
    member.connect()
    if not member.queues_on_device:
        introduce(member, torch.device("cpu"))


def moves_host_memory(backend: str, device: torch.device) -> bool:
    """Whether a backend, as torch names it, moves tensors on ``device`` by way of the host.

    Example:
        >>> cuda = torch.device("cuda")
        >>> [moves_host_memory(name, cuda) for name in ("gloo", "nccl", "cpu:gloo", "cpu:gloo,cuda:nccl")]
        [True, False, True, False]
    """
    by_device = dict(part.split(":") for part in backend.split(",")) if ":" in backend else {device.type: backend}
    return by_device.get(device.type, "gloo") == "gloo"


def backend_of(device: torch.device, ranks: int) -> str:
    """Choose the backend for ranks on devices like ``device``.

    A device's own backend (nccl on CUDA) needs one device per rank. Ranks that share a device communicate through
    gloo, by way of the host.

    Example:
        >>> backend_of(torch.device("cpu"), 4)
        'gloo'
    """
    if device.type == "cpu" or torch.accelerator.device_count() < ranks:
        return "gloo"
    return own_backend(device)


def own_backend(device: torch.device) -> str:
    """The backend that moves the memory of a device itself."""
    return dist.get_default_backend_for_device(device)


def check_backend(backend: object) -> None:
    """Refuse a backend that torch does not know.

    Example:
        >>> check_backend("bogus")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: backend='bogus': must be one of gloo, ..., or None for the device's own.
    """
    known = [name for name in dist.Backend.backend_list if name != dist.Backend.UNDEFINED]
    if backend not in known:
        raise PlanError(f"backend={shown(backend)}: must be one of {', '.join(known)}, or None for the device's own.")


def join(meeting: Meeting, generation: int, *, backend: str, rank: int, size: int, timeout: float) -> Store:
    """Start the default group of this process.

    Args:
        meeting: Where all its ranks meet.
        generation: Number of groups that have met there before, so that no group finds an earlier one's keys.
        backend: ``"gloo"``, or the device's own backend.
        rank: This process's rank.
        size: Number of ranks.
        timeout: Seconds after which an operation of the group gives up.

    Returns:
        The store, which must be kept as long as the group: torch keeps no reference to a store that is written in
        Python.
    """
    limit = timedelta(seconds=timeout)
    require_descriptors(size)
    store = meeting.store(limit)
    prefixed = dist.PrefixStore(f"generation {generation}", store)
    dist.init_process_group(backend, store=prefixed, rank=rank, world_size=size, timeout=limit)
    return store


def leave() -> None:
    """Destroy the default group of this process, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
