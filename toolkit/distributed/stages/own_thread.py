"""A function on a thread of its own that runs in turns with the caller: it can stop in the middle of others' code."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from toolkit.distributed.stages.thread_state import ThreadState
from toolkit.runs.profiler_compat import ThreadAllocations

T = TypeVar("T")


class Abandoned(BaseException):
    """Ends the thread after a failure elsewhere. It is not an Exception: pipelines may catch those."""


class OwnThread(Generic[T]):
    """A function that runs when it is told to, until it pauses.

    Two semaphores pass the turn on, like a baton: the main thread releases ``_go`` and waits for ``_back``; the
    function's thread does the opposite. So at any moment exactly one of the two runs.

    Args:
        function: What to call.
        name: The thread's name.

    Attributes:
        ended: Whether the function has returned.
        value: What the function returned.

    Example:
        >>> def count():
        ...     for number in range(2):
        ...         print(number)
        ...         thread.pause()
        ...     return "done"
        >>> thread = OwnThread(count, "counter")
        >>> while not thread.ended:
        ...     thread.resume()
        0
        1
        >>> thread.value
        'done'
    """

    value: T

    def __init__(self, function: Callable[[], T], name: str) -> None:
        self._function = function
        self.ended = False
        self._error: BaseException | None = None
        self._abandoned = False
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        # torch keeps autocast, gradient mode and the device per thread: the new thread gets the settings of this one.
        self._state, self._memory = ThreadState.current(), ThreadAllocations()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """Let the function run until it pauses, or returns.

        Raises:
            BaseException: What the function raised.
        """
        self._go.release()
        self._back.acquire()
        if self._error is not None:
            raise self._error

    def pause(self) -> None:
        """Hand the turn back and sleep until the next one. Called on the function's thread."""
        if not self._abandoned:
            self._memory.stop()
            self._back.release()
            self._go.acquire()
            self._memory.start()
        if self._abandoned:
            raise Abandoned

    def abandon(self) -> None:
        """End the thread, wherever it sleeps. A thread that has ended already is not affected."""
        self._abandoned = True
        self._go.release()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        self._go.acquire()
        try:
            # Abandoned before its first turn, the function does not even begin.
            if not self._abandoned:
                with self._state.applied():
                    self._memory.start()
                    try:
                        self.value = self._function()
                    finally:
                        self._memory.stop()
        except Abandoned as error:
            # If it was another thread's end that reached this one in its sleep, whoever resumed this one ends as well.
            if not self._abandoned:
                self._error = error
        except BaseException as error:
            # Raised again by resume(), on the main thread.
            self._error = error
        finally:
            self.ended = True
            self._back.release()
