"""What tests of sweeps share: small functions to sweep."""

from __future__ import annotations

from toolkit.geometry import TileGrid

GRID = TileGrid.cover({"h": 32, "w": 32}, tile=12, overlap=4)


def half(x, y=1):
    return x / 2
