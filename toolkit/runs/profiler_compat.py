"""The profiler's private calls, by which CPU allocations are recorded and nothing else."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import autograd
from torch._C._profiler import ProfilerActivity, ProfilerConfig, ProfilerState, RecordScope, _ExperimentalConfig

Allocations = list[tuple[int, int]]
"""The time (ns since the epoch) and the size (bytes, negative when freed) of allocations."""

# torch has one profiler per process, and file descriptor 2 belongs to the whole process: one measurement at a time.
_ONE_AT_A_TIME = threading.RLock()

_RECORDED: ContextVar[Allocations | None] = ContextVar("recorded allocations", default=None)


@contextmanager
def allocations() -> Iterator[Allocations]:
    """Collect the CPU allocations of the calling thread, and of threads that use :class:`ThreadAllocations`.

    The reason for private calls: ``torch.profiler.profile`` records every operation as well, at a third of a decode's
    time. The calls below it can be restricted to a scope of operations that never occurs. If a release changes them,
    this raises, and no memory is measured until this function is adapted.

    While one thread measures, another that wants to measure waits.

    Yields:
        The list of allocations; it is filled when the block ends.
    """
    events: Allocations = []
    config = _config(ProfilerState.KINETO)
    activities = {ProfilerActivity.CPU}
    with _ONE_AT_A_TIME:
        with _quiet_stderr():
            autograd._prepare_profiler(config, activities)
            # The stubs lack the third parameter: the scopes whose operations are recorded.
            autograd._enable_profiler(config, activities, {RecordScope.USER_SCOPE})  # type: ignore[call-arg]
        token = _RECORDED.set(events)
        try:
            yield events
        finally:
            _RECORDED.reset(token)
            with _quiet_stderr():
                result = autograd._disable_profiler()
            recorded: list[Any] = result.events()
            events += [(e.start_ns(), e.nbytes()) for e in recorded if e.name() == "[memory]"]


class ThreadAllocations:
    """Adds a further thread's allocations to the measurement that is under way where this object is made.

    The reason: the profiler sees the thread that started it, and its option for all threads leaves out memory (torch
    2.13). The older profiler can run on another thread at the same time. It records every operation, too, so it is
    stopped between the thread's turns, and what it holds stays small.
    """

    def __init__(self) -> None:
        self._events = _RECORDED.get()
        self._began = 0

    def start(self) -> None:
        """Begin to record on the calling thread, if a measurement is under way."""
        if self._events is not None:
            self._began = time.time_ns()
            autograd._enable_profiler_legacy(_config(ProfilerState.CPU))

    def stop(self) -> None:
        """Stop recording on the calling thread, and hand over what was recorded."""
        if self._events is not None:
            first, *events = [event for thread in autograd._disable_profiler_legacy() for event in thread]
            for event in events:
                if event.kind() == "memory_alloc":  # type: ignore[comparison-overlap]
                    since = int(first.cpu_elapsed_us(event) * 1e3)
                    self._events.append((self._began + since, event.cpu_memory_usage()))


def _config(state: ProfilerState) -> ProfilerConfig:
    return ProfilerConfig(state, False, True, False, False, False, _ExperimentalConfig())


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Drop what is written to file descriptor 2: the profiler's library writes two lines there that no setting stops.

    Call it with the lock held. Two threads that swap the descriptor at once would restore each other's replacement, and
    the process would have lost its stderr for good.
    """
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
