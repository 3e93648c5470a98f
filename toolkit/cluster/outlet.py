"""The root's end of a stream: bands of the output on their way to the kernel.

A band travels in shared memory. The root is at most :data:`BANDS_IN_FLIGHT` bands ahead of the user's function, so
a slow function slows the run down instead of filling memory.
"""

from __future__ import annotations

from torch import Tensor

from toolkit.cluster.engines.context import Line
from toolkit.cluster.engines.parcel import pack

BANDS_IN_FLIGHT = 2
"""Number of bands that may be under way to the kernel, including the one that it works on."""


class Outlet:
    """The root's end: bands go to the kernel, a few at a time.

    Args:
        line: the worker's line to the kernel, which answers each band once it is taken.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._open = 0

    def __call__(self, band: Tensor, start: int) -> None:
        """Send a band, waiting first where enough are under way."""
        self._settle(BANDS_IN_FLIGHT - 1)
        self._line.send("band", pack((band, start)))
        self._open += 1

    def close(self) -> None:
        """Wait until all bands are taken."""
        self._settle(0)

    def _settle(self, most: int) -> None:
        while self._open > most:
            # During a call the kernel sends nothing else to this worker.
            self._line.receive()
            self._open -= 1
