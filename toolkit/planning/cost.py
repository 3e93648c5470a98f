"""What a model's call costs per latent cell, from two small calls of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from toolkit.models.autoencoders.borrowed import borrowed
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.tiling import spatial_ratio
from toolkit.models.protocols import Autoencoder
from toolkit.numerics.convolution import convolution_kernels
from toolkit.runs.device import synchronise
from toolkit.runs.memory import MemoryCurve, measured
from toolkit.runs.trace import clock

EXTENTS = (8, 12)
"""Latent cells along h and w of the two inputs; with all frames of the real one."""
TIMES = 3
"""How often each is timed: the least counts, for what else the machine does only adds."""


@dataclass(frozen=True, slots=True)
class CallCost:
    """What one latent cell costs, all its frames together.

    Attributes:
        working_bytes: bytes allocated at the peak of a call, its output included.
        output_bytes: bytes of output.
        weight_bytes: bytes of the whole model, not per cell.
        seconds: of computing, on the device and with the threads that this process has.
    """

    working_bytes: int
    output_bytes: int
    weight_bytes: int
    seconds: float


def call_cost(vae: Autoencoder, shape: Sequence[int], call: ModelCall) -> CallCost:
    """Measure what a cell of an input of ``shape`` costs, where the model is.

    The model's own call runs on two small inputs, and what the larger costs more is divided by the cells that it has
    more. Where attention holds all pairs of cells, larger inputs cost more than that per cell.

    Args:
        vae: a diffusers autoencoder; it is left as it was found.
        shape: shape of the call's input.
        call: which of the model's calls.

    Example:
        >>> from toolkit.models.autoencoders.census import specimen
        >>> call_cost(specimen("AutoencoderTiny").build(), (1, 4, 64, 64), ModelCall()).output_bytes == 8 * 8 * 3 * 4
        True
    """
    small, large = (_measure(vae, shape, call, extent) for extent in EXTENTS)
    cells = [extent**2 for extent in EXTENTS]
    per_cell = [(b - a) / (cells[1] - cells[0]) for a, b in zip(small, large, strict=True)]
    weights = sum(parameter.nbytes for parameter in vae.parameters())
    # On a busy machine the smaller input may have taken longer; nothing costs no time at all.
    seconds = per_cell[2] if per_cell[2] > 0 else large[2] / cells[1]
    return CallCost(round(per_cell[0]), large[1] // cells[1], weights, seconds)


def _measure(vae: Autoencoder, shape: Sequence[int], call: ModelCall, extent: int) -> tuple[int, int, float]:
    """Peak bytes, bytes of output and seconds of a call on ``extent`` by ``extent`` cells."""
    side = extent * (spatial_ratio(vae) if call.direction == "encode" else 1)
    x = next(vae.parameters()).new_zeros(*shape[:-2], side, side)
    curve = MemoryCurve(0)
    with borrowed(vae), convolution_kernels("onednn"):
        call(vae, x)  # the first call of a shape pays for what later ones find
        seconds = min(_seconds(vae, x, call) for _ in range(TIMES))
        # Nothing older is freed meanwhile: PyTorch would warn of memory that it did not see allocated.
        with measured(curve, x.device, clock()):
            output: Tensor = call(vae, x)
    return curve.peak or 0, output.nbytes, seconds


def _seconds(vae: Autoencoder, x: Tensor, call: ModelCall) -> float:
    start = clock()
    call(vae, x)
    synchronise(x.device)
    return clock() - start
