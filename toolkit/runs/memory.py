"""Memory of one rank over time, with its true peak.

On the CPU the profiler's allocation events are summed: they see every buffer, also those inside kernels, and nothing of
what the allocator keeps for later. (Resident memory overstated a small decode's peak by 1.8 times.) On an accelerator
the allocator's own statistics give the peak, and samples between events the curve.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import autograd
from torch._C._profiler import ProfilerActivity, ProfilerConfig, ProfilerState, RecordScope, _ExperimentalConfig

from toolkit.runs import device as devices
from toolkit.runs.trace import clock

MAX_POINTS = 2000


@dataclass(slots=True)
class MemoryCurve:
    """Bytes allocated above those at the run's begin, over time.

    Attributes:
        rank: whose memory.
        times: seconds since the run began.
        bytes: bytes allocated at those times.
        peak: most bytes allocated at any time; None where memory was not measured.
    """

    rank: int
    times: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    peak: int | None = None

    def sample(self, device: torch.device, origin: float, base: int) -> None:
        """Add the accelerator's present allocation as a point."""
        self.times.append(clock() - origin)
        self.bytes.append(devices.allocated(device) - base)


@contextmanager
def measured(curve: MemoryCurve, device: torch.device, origin: float) -> Iterator[None]:
    """Measure the memory of what happens inside the ``with`` block into ``curve``.

    Args:
        curve: filled when the block ends.
        device: where the tensors live.
        origin: the run's begin, see :class:`toolkit.runs.trace.Recorder`.
    """
    if device.type != "cpu":
        base = devices.reset_peak(device)
        curve.sample(device, origin, base)
        yield
        devices.synchronise(device)
        curve.sample(device, origin, base)
        curve.peak = devices.peak(device) - base
        return
    # Profiler times count from the epoch, events from the run's begin.
    shift = time.time() - clock() + origin
    with _allocations() as events:
        yield
    _sum_up(curve, events, shift)


@contextmanager
def _allocations() -> Iterator[list[tuple[int, int]]]:
    """Collect the time (ns) and size (bytes, negative when freed) of this thread's CPU allocations.

    ``torch.profiler.profile`` would do, but it records every operation as well, at a third of a decode's time; the
    calls under it can be told to record none but ours, and we mark none.
    """
    events: list[tuple[int, int]] = []
    config = ProfilerConfig(ProfilerState.KINETO, False, True, False, False, False, _ExperimentalConfig())
    activities = {ProfilerActivity.CPU}
    with _quiet_stderr():
        autograd._prepare_profiler(config, activities)
        # The stubs lack the third parameter, the scopes of which operations are recorded.
        autograd._enable_profiler(config, activities, {RecordScope.USER_SCOPE})  # type: ignore[call-arg]
    try:
        yield events
    finally:
        with _quiet_stderr():
            result = autograd._disable_profiler()
        recorded: list[Any] = result.events()
        events += [(e.start_ns(), e.nbytes()) for e in recorded if e.name() == "[memory]"]


def _sum_up(curve: MemoryCurve, events: list[tuple[int, int]], shift: float) -> None:
    if not events:
        curve.peak = 0
        return
    table = np.array(sorted(events), dtype=np.int64)
    level = table[:, 1].cumsum()
    curve.peak = max(int(level.max()), 0)
    # Of every stretch of events keep the highest: the curve loses detail, never its peaks.
    stretch = -(-len(level) // MAX_POINTS)
    kept = [start + int(level[start : start + stretch].argmax()) for start in range(0, len(level), stretch)]
    kept = sorted({*kept, len(level) - 1})
    curve.times = (table[kept, 0] / 1e9 - shift).tolist()
    curve.bytes = level[kept].tolist()


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """The profiler's library writes two lines to the process's stderr that no setting of its own silences."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
