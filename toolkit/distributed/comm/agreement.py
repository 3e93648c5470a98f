"""Agreements among ranks that may fail before they agree: through the store, not through messages."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from torch.distributed import Store

from toolkit.distributed.comm.failure import GLANCE, FailureFlag, reaching
from toolkit.errors import RunTimeout


@dataclass(frozen=True, slots=True)
class Agreement:
    """Where the ranks of a launch tell each other what they are about to do.

    Attributes:
        store: A store that all ranks reach.
        rank: This rank.
        size: Number of ranks.
        timeout: Seconds to wait for the others.
    """

    store: Store
    rank: int
    size: int
    timeout: float

    def tell(self, topic: str, text: str, flags: Sequence[FailureFlag]) -> list[str]:
        """Tell all ranks a text, and wait for theirs; every rank calls this.

        Args:
            topic: What the texts are about; each topic can be agreed upon once.
            text: This rank's text.
            flags: Where to look for failures of other ranks meanwhile.

        Returns:
            The texts of all ranks, in order.

        Raises:
            RankFailed: If a rank fails meanwhile.
            RunTimeout: If a rank has not told its text in time.
            RunError: If the store cannot be reached.
        """
        keys, until = [f"{topic}/{rank}" for rank in range(self.size)], time.monotonic() + self.timeout
        with reaching(self.store, self.rank):
            self.store.set(keys[self.rank], json.dumps(text))
            # The last one opens the gate: a rank that waits asks for one key, not for one per rank.
            if self.store.add(f"{topic}/count", 1) == self.size:
                self.store.set(f"{topic}/all", "")
        while True:
            for flag in flags:
                flag.check()
            with reaching(self.store, self.rank):
                if self.store.check([f"{topic}/all"]):
                    return [json.loads(one) for one in self.store.multi_get(keys)]
                late = time.monotonic() > until
                missing = tuple(rank for rank in range(self.size) if late and not self.store.check([keys[rank]]))
            if missing:
                names = ", ".join(map(str, missing))
                raise RunTimeout(
                    f"rank(s) {names} of {self.size} were not ready after {self.timeout:g} s: see what they do, "
                    "or give --timeout more seconds.",
                    missing,
                )
            time.sleep(GLANCE / 4)
