"""Failures: when one rank raises, every rank raises within seconds, and each names the first rank's reason.

The flag is one key in the group's store, which all ranks can reach. A rank that raises writes its traceback there;
a rank that waits for a message looks at the key while it waits. As long as nothing fails, nothing is written.

    rank 1   raises ValueError --> writes the key --> raises ValueError
    rank 0   waits for rank 1's message, looks at the key every 0.2 s --> raises RankFailed(rank 1, "ValueError: ...")

A store that cannot be reached is a failure, too. A look at it ends within seconds even if the link to its host is down:
see lost_links.py.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from torch.distributed import PrefixStore, Store, TCPStore

from toolkit.errors import RankFailed, RunError

KEY = "toolkit/failure"

GLANCE = 0.2
"""Seconds between two looks at the failure flag while a rank waits."""

PATIENCE = 2.0
"""Seconds to wait for another rank's reason after a connection broke: the rank closes it before it has written one."""


@dataclass(frozen=True, slots=True)
class FailureFlag:
    """The first failure among the ranks of a group.

    Once set, the flag stays set: messages may be lost or half sent, so the group cannot be used any more.

    Attributes:
        store: The group's store; None for a process that runs alone.
        rank: This rank.
    """

    store: Store | None
    rank: int

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Report what the ``with`` block raises to all ranks.

        Raises:
            RankFailed: Before the block runs, if a rank has failed earlier.
        """
        self.check()
        try:
            yield
        except RankFailed:
            # Another rank's failure, which is already in the store.
            raise
        except BaseException as error:
            self._announce(error)
            raise

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Raise another rank's failure in place of the RuntimeError that it causes here.

        A collective whose peer has died raises "connection closed", which says nothing about the reason.
        """
        try:
            yield
        except RuntimeError:
            self.check(patience=PATIENCE)
            raise

    def check(self, patience: float = 0.0) -> None:
        """Raise if another rank has failed.

        Args:
            patience: Seconds to wait for a rank's report if there is none yet.

        Raises:
            RankFailed: With the failing rank's own traceback.
            RunError: If the store cannot be reached.
        """
        if self.store is None:
            return
        until = time.monotonic() + patience
        with reaching(self.store, self.rank):
            # Not Store.wait, which blocks in C++, where Ctrl-C does not reach it.
            while not self.store.check([KEY]):
                if time.monotonic() >= until:
                    return
                time.sleep(0.05)
            rank, summary, text = json.loads(self.store.get(KEY))
        raise RankFailed(rank, summary, text)

    def _announce(self, error: BaseException) -> None:
        if self.store is None:
            return
        summary = f"{type(error).__name__}: {error}"
        text = json.dumps([self.rank, summary, "".join(traceback.format_exception(error))])
        # compare_set writes only if the key is not there yet. So the first failure is kept: later ones are mostly its
        # consequences. Where the store is gone, there is nobody to tell, and the error itself must not be lost.
        with suppress(RuntimeError, OSError):
            self.store.compare_set(KEY, "", text)


@contextmanager
def reaching(store: Store, rank: int) -> Iterator[None]:
    """Say in words that a store could not be reached in the ``with`` block.

    Raises:
        RunError: In place of what the store raised.
    """
    try:
        yield
    except (RuntimeError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"rank {rank} has lost the ranks' common store{_host_of(store)} ({reason}): the link to its host "
            "is down, or its processes have ended. See what ended there first, check the network, and run again."
        ) from error


def _host_of(store: Store) -> str:
    while isinstance(store, PrefixStore):
        store = store.underlying_store
    return f" at {store.host}:{store.port}" if isinstance(store, TCPStore) else ""
