"""Process groups: whom a rank talks to, and how groups start and end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup, Store, Work

from toolkit.distributed.comm.process_group_compat import store_of
from toolkit.errors import PlanError


@dataclass(frozen=True, slots=True)
class Member:
    """This process as one rank of a group.

    Attributes:
        group: the group; None for the default one, or where a single process runs alone.
        rank: rank within the group.
        size: number of ranks in the group.
    """

    group: ProcessGroup | None
    rank: int
    size: int

    @classmethod
    def of(cls, group: ProcessGroup | None) -> Member:
        """This process in ``group`` (None: the default group; alone where none was started).

        Raises:
            PlanError: where this process is not in the group.
        """
        if group is None and not dist.is_initialized():
            return cls(None, 0, 1)
        rank = dist.get_rank(group)
        if rank < 0:
            raise PlanError(
                f"global rank {dist.get_rank()} is not in the group that was given: call only on the group's own ranks."
            )
        return cls(group, rank, dist.get_world_size(group))

    def send(self, tensor: Tensor, to: int) -> Work:
        """Start to send ``tensor`` to a rank of the group; it must stay as it is until the transfer is done."""
        return _started(dist.isend(tensor, group=self.group, group_dst=to))

    def receive(self, tensor: Tensor, source: int) -> Work:
        """Start to receive ``tensor`` from a rank of the group."""
        return _started(dist.irecv(tensor, group=self.group, group_src=source))

    def staged(self, device: torch.device) -> bool:
        """Whether tensors on ``device`` must pass through the host: gloo moves host memory only."""
        # A process that runs alone has no group to ask, and sends nothing.
        return device.type != "cpu" and self.size > 1 and dist.get_backend(self.group) == "gloo"

    @property
    def store(self) -> Store | None:
        """The group's key-value store; None where this process runs alone."""
        if self.size == 1:
            return None
        return store_of(self.group)


class Groups:
    """Further groups of the same ranks, made when first asked for and kept: messages of one never wait for another's.

    All ranks of the default group must ask for the same ones in the same order. (torch can make a group among its own
    ranks alone, but names it by how many groups a process has made before, so that ranks of different pasts wait for
    each other for ever.) Of any other group there are no further ones: all messages share it, in an order that is the
    same on every rank.
    """

    def __init__(self) -> None:
        self._made: dict[str, ProcessGroup] = {}
        self._among: dict[tuple[tuple[int, ...], ...], ProcessGroup | None] = {}

    def like(self, member: Member, purpose: str) -> Member:
        """This process in the group for a purpose."""
        if member.size == 1 or member.group is not None:
            return member
        if purpose not in self._made:
            self._made[purpose] = dist.new_group(backend=dist.get_backend())
        return Member(self._made[purpose], member.rank, member.size)

    def among(self, member: Member, lines: tuple[tuple[int, ...], ...]) -> ProcessGroup | None:
        """The group of those ranks that are on a line with this one; None where it is on none.

        Args:
            member: this process in the default group.
            lines: ranks, each on one line at most.

        Raises:
            PlanError: where it is another group.
        """
        if member.group is not None:
            raise PlanError(
                f"groups of ranks {lines} are made of the default group only: leave out group, or give a mesh that has "
                "them."
            )
        if lines not in self._among:
            made = [dist.new_group(list(line), backend=dist.get_backend()) for line in lines]
            mine = (group for line, group in zip(lines, made, strict=True) if member.rank in line)
            self._among[lines] = next(mine, None)
        return self._among[lines]

    def close(self) -> None:
        """End the groups."""
        for group in (*self._made.values(), *self._among.values()):
            if group is not None:
                dist.destroy_process_group(group)
        self._made.clear()
        self._among.clear()


def _started(work: Work | None) -> Work:
    if work is None:
        raise RuntimeError("this process is not in the group.")
    return work


def backend_of(device: torch.device, ranks: int) -> str:
    """The backend for ranks on devices like ``device``.

    A device's own backend (nccl on CUDA) needs one device a rank; ranks that share a device talk through gloo, staged
    through the host.

    Example:
        >>> backend_of(torch.device("cpu"), 4)
        'gloo'
    """
    if device.type == "cpu" or torch.accelerator.device_count() < ranks:
        return "gloo"
    return dist.get_default_backend_for_device(device)


def host_store(timeout: float) -> dist.TCPStore:
    """A store on a free port of the loopback interface, owned by this process."""
    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=timeout))


def join(port: int, generation: int, backend: str, rank: int, size: int, timeout: float) -> None:
    """Start the default group of this process, through the store on ``port``.

    Args:
        port: port of :func:`host_store`.
        generation: counts the groups that used the store, so that none finds an earlier one's keys.
        backend: ``gloo`` or the device's own.
        rank: this process's rank.
        size: number of ranks.
        timeout: seconds after which an operation of the group gives up.
    """
    limit = timedelta(seconds=timeout)
    store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=limit)
    prefixed = dist.PrefixStore(f"generation {generation}", store)
    dist.init_process_group(backend, store=prefixed, rank=rank, world_size=size, timeout=limit)


def warm_up(device: torch.device) -> None:
    """Connect every rank with every other: the first message of a pair sets up its connection."""
    rank, size = dist.get_rank(), dist.get_world_size()
    for shift in range(1, size):
        to, source = (rank + shift) % size, (rank - shift) % size
        incoming, outgoing = torch.zeros(1, device=device), torch.ones(1, device=device)
        ops = [dist.P2POp(dist.isend, outgoing, to), dist.P2POp(dist.irecv, incoming, source)]
        for work in dist.batch_isend_irecv(ops):
            work.wait()


def leave() -> None:
    """End the default group of this process."""
    if dist.is_initialized():
        dist.destroy_process_group()
