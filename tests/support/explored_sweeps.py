"""What tests of the sweep explorer share: functions to sweep."""

from __future__ import annotations

import threading

SPACE = {"tile": [4, 8, 16], "blend": ["linear", "crop"]}


def measure(tile, blend):
    if tile == 4 and blend == "crop":
        raise ValueError("tile=4: too small to cut")
    return {"psnr": 20.0 + tile + 0.25 * (blend == "crop"), "seconds": 1.0 / tile, "same": 1}


class Gate:
    """A function that waits at each point until it is let through."""

    def __init__(self):
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.seen: list[tuple] = []

    def __call__(self, tile, blend):
        self.seen.append((tile, blend))
        self.begun.release()
        assert self.go.acquire(timeout=30)
        return {"psnr": 20.0 + tile}
