"""Presses of Stop: counted, so that they never interrupt clean-up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from toolkit.errors import Interrupted


@dataclass(slots=True)
class Interrupts:
    """How often Stop was pressed since the block began."""

    count: int = 0


@contextmanager
def deferred() -> Iterator[Interrupts]:
    """Count interrupts (Ctrl-C, a notebook's Stop) instead of raising them, and raise one when the block has ended.

    A ``KeyboardInterrupt`` inside clean-up would leave the rest of it undone, so none is raised before clean-up is
    complete. Outside the main thread, where no interrupts arrive, nothing changes.
    """
    seen = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return

    def note(signum: int, at: FrameType | None) -> None:
        seen.count += 1

    before = signal.signal(signal.SIGINT, note)
    ended: BaseException | None = None
    try:
        yield seen
    except BaseException as error:
        ended = error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        if seen.count:
            raise Interrupted from ended
