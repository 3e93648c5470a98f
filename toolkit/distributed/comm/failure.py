"""Failures: when one rank raises, all raise, within seconds and with its reason.

The flag is a key in the group's store. A rank that raises sets it; ranks that wait for a message look at it while they
wait. Nothing is sent while all goes well.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch.distributed import Store

from toolkit.errors import RankFailed

KEY = "toolkit/failure"


@dataclass(frozen=True, slots=True)
class FailureFlag:
    """Tells the ranks of a group of the first failure among them.

    Once set it stays: messages may be lost or half sent, so the group is of no use any more.

    Attributes:
        store: the group's store; None where a process runs alone.
        rank: this rank.
    """

    store: Store | None
    rank: int

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Announce what is raised inside the ``with`` block; refuse to begin after an earlier failure."""
        self.check()
        try:
            yield
        except RankFailed:
            raise
        except BaseException as error:
            self._announce(error)
            raise

    def check(self, patience: float = 0.0) -> None:
        """Raise if another rank has failed, waiting up to ``patience`` seconds for its word.

        Raises:
            RankFailed: with the failing rank's own traceback.
        """
        if self.store is None:
            return
        until = time.monotonic() + patience
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
        # The first to fail has the word; later failures are mostly its consequences.
        self.store.compare_set(KEY, "", text)
