"""Memory of one rank over time, with its true peak.

On the CPU the profiler's allocation events are summed. They include every buffer, also those inside kernels, but not
what the allocator only keeps for later. (Resident memory overstated the peak of a small decode by 1.8 times.) On an
accelerator the allocator's own statistics give the peak, and samples between events give the curve.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from toolkit.runs import device as devices
from toolkit.runs.profiler_compat import allocations
from toolkit.runs.trace import clock

MAX_POINTS = 2000


@dataclass(slots=True)
class MemoryCurve:
    """Bytes allocated above those at the start of the run, over time.

    Attributes:
        rank: The rank whose memory this is.
        times: Seconds since the run began.
        bytes: Bytes allocated at those times.
        peak: Most bytes allocated at any time; None if memory was not measured.
    """

    rank: int
    times: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    peak: int | None = None

    def sample(self, device: torch.device, origin: float, base: int) -> None:
        """Add the accelerator's current allocation as a point."""
        self.times.append(clock() - origin)
        self.bytes.append(devices.allocated(device) - base)


@contextmanager
def measured(curve: MemoryCurve, device: torch.device, *, origin: float) -> Iterator[None]:
    """Measure the memory of what happens inside the ``with`` block into ``curve``.

    Args:
        curve: Filled when the block ends.
        device: The device of the tensors.
        origin: When the run began, see :class:`toolkit.runs.trace.Recorder`.
    """
    if device.type != "cpu":
        base = devices.reset_peak(device)
        curve.sample(device, origin, base)
        yield
        devices.synchronise(device)
        curve.sample(device, origin, base)
        curve.peak = devices.peak(device) - base
        return
    # The profiler counts time from the epoch, events from the start of the run.
    shift = time.time() - clock() + origin
    with allocations() as events:
        yield
    _sum_up(curve, events, shift=shift)


def _sum_up(curve: MemoryCurve, events: list[tuple[int, int]], *, shift: float) -> None:
    if not events:
        curve.peak = 0
        return
    table = np.array(sorted(events), dtype=np.int64)
    level = table[:, 1].cumsum()
    curve.peak = max(int(level.max()), 0)
    kept = thinned(level)
    curve.times = (table[kept, 0] / 1e9 - shift).tolist()
    curve.bytes = level[kept].tolist()


def thinned(levels: Any) -> list[int]:
    """The places of the points of a curve that are worth keeping: the highest of every stretch, and the last.

    The curve loses detail, but none of its peaks.

    Example:
        >>> thinned([0, 5, 2])
        [0, 1, 2]
    """
    level = np.asarray(levels)
    stretch = max(1, -(-len(level) // MAX_POINTS))
    kept = {start + int(level[start : start + stretch].argmax()) for start in range(0, len(level), stretch)}
    return sorted({*kept, len(level) - 1}) if len(level) else []
