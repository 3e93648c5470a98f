"""Borrowing a model: what a run sets on it, and what the model sets on itself meanwhile, is undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from toolkit.geometry.grid import TileGrid
from toolkit.models.diffusers_compat import is_configured
from toolkit.models.protocols import Autoencoder


@contextmanager
def borrowed(vae: Autoencoder, grid: TileGrid | None = None) -> Iterator[None]:
    """Use a model without its own tiling and without gradients, and leave it exactly as it was found.

    Every attribute of every submodule that changes during the loan (causal caches, counters, flags) is restored, and
    those of the model's scheduler, if it has one.

    Args:
        vae: The model.
        grid: The tiles that it is used for. If they have an axis ``t``, the model's own tiling in time is off too.
    """
    holders: list[Any] = list(vae.modules())
    # A scheduler (ConsistencyDecoderVAE) is not a module, and keeps its timesteps in plain attributes.
    holders += [
        value
        for module in holders
        for name, value in vars(module).items()
        if not name.startswith("_") and is_configured(value)
    ]
    # Shallow copies suffice: a cache that a model writes into is one that it makes anew when a call begins.
    found = [(holder, dict(vars(holder))) for holder in holders]
    setattr(vae, "use_tiling", False)  # noqa: B010 (not every model has it, and a protocol cannot say so)
    for name in ("use_framewise_decoding", "use_framewise_encoding"):
        if grid is not None and "t" in grid.axes and hasattr(vae, name):
            setattr(vae, name, False)
    try:
        with torch.no_grad():
            yield
    finally:
        for holder, attributes in found:
            # clear and update, not assignment: attributes that were added go, and the dict keeps its identity.
            vars(holder).clear()
            vars(holder).update(attributes)
