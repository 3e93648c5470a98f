"""Processes that a launcher such as torchrun has started: how they join, agree and end.

Ranks join first and load afterwards. Before they have joined, a rank has no way to tell the others that it failed.

    rank 0   joins ---- loads ---------------- agree() -- works ...
    rank 2   joins ---- loads, raises          (the model is not on this host)
                          '--> rank 0 raises RankFailed(rank 2, ...) in agree()

All ranks reach one store: the launcher's, at MASTER_ADDR. Joining takes three steps: reach the store, tell the others
which backend suits this rank, and connect. A rank that fails in the second or third step is named on all others.
"""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import Store

from toolkit.distributed.comm.agreement import Agreement
from toolkit.distributed.comm.descriptors import require_descriptors
from toolkit.distributed.comm.failure import GLANCE, PATIENCE, FailureFlag
from toolkit.distributed.comm.group import Member, backend_of, leave
from toolkit.distributed.comm.interfaces import towards
from toolkit.distributed.comm.lost_links import SILENCE, noticed_links
from toolkit.errors import PlanError, RunError
from toolkit.runs.device import device_of_rank

TIMEOUT = 1800.0
"""Seconds that ranks wait for each other, if nobody says otherwise."""

_CALLS = itertools.count()
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_PLACES = ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK", "ROLE_WORLD_SIZE")
_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


def launched_ranks() -> int | None:
    """The number of ranks that a launcher has started, including this one; None without a launcher."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in _VARIABLES) else None


def launched_rank() -> int:
    """This process's rank; 0 without a launcher."""
    return int(os.environ["RANK"]) if launched_ranks() is not None else 0


def leave_launch() -> None:
    """Go on as a process of its own, which no launcher has started, and which may start ranks itself."""
    for name in (*_VARIABLES, *_PLACES):
        os.environ.pop(name, None)


@dataclass(frozen=True, slots=True)
class Launched:
    """This process among those that a launcher has started.

    Attributes:
        rank: Its rank.
        size: Number of ranks.
        device: Its device.
        hosts: Whether there are other hosts.
        agreement: How it agrees with the others.
        flags: Where it looks for failures of others: the flag from before the group was made, and the group's own.
    """

    rank: int
    size: int
    device: torch.device
    hosts: bool
    agreement: Agreement
    flags: tuple[FailureFlag, ...]

    @property
    def where(self) -> str:
        """Where this process writes its files, to be added to their paths; empty if there is only one host."""
        return f" on {socket.gethostname()}, the host of rank {self.rank}" if self.hosts else ""

    def agree(self, what: str) -> None:
        """Wait until all ranks are ready to begin the same work; every rank calls this.

        Args:
            what: What this rank is about to do. It must be the same text on all ranks.

        Raises:
            RankFailed: If a rank fails before it is ready.
            RunTimeout: If a rank is not ready in time.
            PlanError: If this rank is about to do something else than rank 0.
        """
        told = self.agreement.tell("ready", what, self.flags)
        if what != told[0]:
            raise PlanError(
                f"rank {self.rank} has {what}, but rank 0 has {told[0]}: give all hosts the same files and options."
            )


@contextmanager
def launched_group(device: str | None = None, timeout: float = TIMEOUT) -> Iterator[Launched]:
    """Start the default group of all ranks for the ``with`` block.

    What one rank raises in the block, for example while it loads a model, is raised on the others as soon as they wait.
    Unless the user has chosen network interfaces, those are used that lead to MASTER_ADDR.

    Args:
        device: The device to compute on, as ``torch.device`` takes it; None: this rank's accelerator, if there is one.
        timeout: Seconds that ranks wait for each other. A dropped link is noticed within them, and mostly sooner.

    Yields:
        This process.

    Raises:
        RunError: If the ranks cannot be joined.
        RankFailed: If another rank has failed.
    """
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    with noticed_links(min(timeout, SILENCE)):
        store = _launchers_store(rank, timeout)
        with _seen_by_all(store, rank, size), FailureFlag(store, rank).watch(), _interfaces(size):
            joined = _joined(Agreement(store, rank, size, timeout), device)
            try:
                with joined.flags[-1].watch():
                    yield joined
            finally:
                leave()


def _launchers_store(rank: int, timeout: float) -> Store:
    limit = timedelta(seconds=timeout)
    try:
        store, _, _ = next(dist.rendezvous("env://", timeout=limit))
    except (RuntimeError, OSError) as error:
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise RunError(
            f"rank {rank} cannot reach {address}, where the ranks meet ({error}): start the same command on the host "
            "with that address, too, and see whether a firewall is between the hosts."
        ) from error
    store.set_timeout(limit)
    # A launcher that starts all ranks again after a failure keeps its store, and so does a second call of this process.
    attempt = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}.{next(_CALLS)}"
    return dist.PrefixStore(f"toolkit {attempt}", store)


def _joined(agreement: Agreement, device: str | None) -> Launched:
    store, rank, size = agreement.store, agreement.rank, agreement.size
    local = int(os.environ["LOCAL_WORLD_SIZE"]) if "LOCAL_WORLD_SIZE" in os.environ else None
    mine = device_of_rank(int(os.environ.get("LOCAL_RANK", rank)), device)
    if mine.type != "cpu":
        torch.accelerator.set_device_index(mine.index or 0)
    require_descriptors(size)
    # Ranks of one host may share its accelerators, so the backend depends on how many ranks this host has.
    backend = backend_of(mine, size if local is None else local)
    early = FailureFlag(store, rank)
    told = agreement.tell("joins", backend, [early])
    if len(set(told)) > 1:
        raise PlanError(
            f"the ranks would talk through different backends, {', '.join(told)}, because their hosts have different "
            "devices: give --device, such as --device cpu."
        )

    def connect() -> None:
        limit = timedelta(seconds=agreement.timeout)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=limit)

    _while_watching(early, connect)
    flags = (early, FailureFlag(Member.of(None).store, rank))
    return Launched(rank, size, mine, local not in (None, size), agreement, flags)


def _while_watching(flag: FailureFlag, function: Callable[[], None]) -> None:
    """Call a function that may wait for a rank that has failed, and look for its failure meanwhile."""
    errors: list[Exception] = []

    def call() -> None:
        try:
            function()
        except Exception as error:
            errors.append(error)

    # A daemon: what waits for a failed rank must not keep this process from ending.
    thread = threading.Thread(target=call, name="toolkit-joins", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(GLANCE)
        flag.check()
    if errors:
        # A rank that has joined and then failed closes its connections before it says why.
        flag.check(patience=PATIENCE)
        listens = ", ".join(f"{name}={os.environ[name]}" for name in _INTERFACES if name in os.environ)
        raise RunError(
            f"rank {flag.rank} could not connect to the other ranks ({listens}): {errors[0]}. See that these "
            "interfaces lead to the other hosts, or set the variables to others."
        ) from errors[0]


@contextmanager
def _interfaces(size: int) -> Iterator[None]:
    """Choose network interfaces for the ``with`` block, in which groups are made, if the user has chosen none."""
    if any(name in os.environ for name in _INTERFACES):
        yield
        return
    local = int(os.environ["LOCAL_WORLD_SIZE"]) if "LOCAL_WORLD_SIZE" in os.environ else None
    chosen = towards(os.environ["MASTER_ADDR"], size, local)
    os.environ.update(chosen)
    try:
        yield
    finally:
        for name in chosen:
            os.environ.pop(name, None)


@contextmanager
def _seen_by_all(store: Store, rank: int, size: int) -> Iterator[None]:
    """Stay for a moment after a failure, until all ranks have seen it.

    A launcher ends its host's ranks as soon as one of them has ended, and with the first host the store.
    """
    try:
        yield
    except BaseException:
        # Only what fails with the store itself is left out: the error that is raised says more.
        with suppress(RuntimeError, OSError):
            until = time.monotonic() + PATIENCE
            seen = store.add("failure seen", 1)
            while seen < size and time.monotonic() < until:
                time.sleep(GLANCE / 4)
                seen = store.add("failure seen", 0)
        raise
