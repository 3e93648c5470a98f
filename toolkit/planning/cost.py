"""The cost of a model's call per latent cell, measured with two small calls."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from toolkit.models.autoencoders.borrowed import borrowed
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.tiling import input_ratio
from toolkit.models.protocols import Autoencoder
from toolkit.numerics.convolution import convolution_kernels
from toolkit.runs.device import synchronise
from toolkit.runs.memory import MemoryCurve, measured
from toolkit.runs.trace import clock

EXTENTS = (8, 12)
"""Latent cells along h and w of the two small inputs, which have as many frames as the real one."""
TIMES = 2
"""Number of timings per input. The shortest counts, because whatever else the machine does can only add time."""


@dataclass(frozen=True, slots=True)
class CallCost:
    """The cost of one latent cell of h and w, all its frames together.

    Attributes:
        working_bytes: Bytes allocated at the peak of a call, its output included.
        output_bytes: Bytes of output.
        weight_bytes: Bytes of the whole model, not per cell.
        seconds: Time to compute it, on the device and with the threads of this process.
    """

    working_bytes: int
    output_bytes: int
    weight_bytes: int
    seconds: float


def call_cost(vae: Autoencoder, shape: Sequence[int], call: ModelCall) -> CallCost:
    """Measure the cost of a cell for inputs of ``shape``, on the model's device.

    The model's own call runs on two small inputs; the difference in cost is divided by the difference in cells. If
    attention holds all pairs of cells, larger inputs cost more per cell than this says.

    Args:
        vae: A diffusers autoencoder. It is left as it was found.
        shape: The shape of the call's input.
        call: The model call to make.

    Example:
        >>> from toolkit.models.autoencoders.census import specimen
        >>> call_cost(specimen("AutoencoderTiny").build(), (1, 4, 64, 64), ModelCall()).output_bytes == 8 * 8 * 3 * 4
        True
    """
    small, large = (_measure(vae, shape, call=call, extent=extent) for extent in EXTENTS)
    cells = [extent**2 for extent in EXTENTS]
    per_cell = [(b - a) / (cells[1] - cells[0]) for a, b in zip(small, large, strict=True)]
    weights = sum(parameter.nbytes for parameter in vae.parameters())
    # On a busy machine the smaller input may have taken longer. No cell costs nothing, so fall back to the mean.
    seconds = per_cell[2] if per_cell[2] > 0 else large[2] / cells[1]
    return CallCost(round(per_cell[0]), large[1] // cells[1], weights, seconds)


def _measure(vae: Autoencoder, shape: Sequence[int], *, call: ModelCall, extent: int) -> tuple[int, int, float]:
    """Peak bytes, bytes of output and seconds of a call on ``extent`` by ``extent`` cells."""
    side = extent * input_ratio(vae, call.direction.value)
    x = next(vae.parameters()).new_zeros(*shape[:-2], side, side)
    curve = MemoryCurve(0)
    with borrowed(vae), convolution_kernels("onednn"):
        # What was allocated before must not be freed while we measure: it would be subtracted from the peak.
        gc.collect()
        with measured(curve, x.device, origin=clock()):
            output: Tensor = call(vae, x)
        # After that one: the first call of a shape also pays for what later ones reuse.
        seconds = min(_seconds(vae, x, call=call) for _ in range(TIMES))
    return curve.peak or 0, output.nbytes, seconds


def _seconds(vae: Autoencoder, x: Tensor, *, call: ModelCall) -> float:
    start = clock()
    call(vae, x)
    synchronise(x.device)
    return clock() - start
