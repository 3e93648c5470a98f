"""What tests of the grid explorer and of its trial share."""

from __future__ import annotations

import toolkit as tk
from support import tiny
from toolkit.planning.cost import CallCost

COST = CallCost(working_bytes=1000, output_bytes=100, weight_bytes=5_000_000, seconds=0.001)


def explorer(h: int = 24, w: int = 40, **settings):
    return tk.widgets.explore(tiny.kl(), tiny.latent("kl", h, w), cost=COST, **settings)
