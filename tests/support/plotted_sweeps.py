"""What tests of a sweep's figures share: a sweep to draw, and the lines and marks of a figure."""

from __future__ import annotations

from toolkit import plot
from toolkit.geometry import Blend

INFINITE = float("inf")


def measure(tile, overlap, blend):
    if overlap >= tile:
        raise ValueError(f"overlap={overlap}: must be below {tile}.")
    if tile == 24:
        raise MemoryError
    redundancy = (tile / (tile - overlap)) ** 2
    psnr = INFINITE if tile == 16 and overlap == 8 else 20.0 + overlap + (blend == Blend.cosine()) / 2
    return {"seconds": 0.1 * redundancy, "peak bytes": tile**2 * 1e6, "psnr": psnr, "exact": psnr > 99}


def marks(figure: plot.Figure) -> list:
    return [trace for trace in figure.data if trace.mode == "markers" and trace.hovertext is not None]
