"""Large fp32 CPU convolutions in bands of rows, which need little memory beside the map and its result.

oneDNN computes in a memory format of its own. For a contiguous map it makes a copy of the whole map in that format,
computes a result in that format, and copies the result back: four maps in place of two. In bands the copies are small:

    the map             rows 0 1 2 3 4 5 6 7 8 9
    band 0, two rows         . . .                    output rows 0, 1 read input rows 0 to 2, and the padding
    band 1                     . . . .                output rows 2, 3 read input rows 1 to 4
    ...

A band's output rows are computed by the same kernel from the same input rows as the whole map's, so the result is the
same up to the rounding of a kernel that oneDNN may choose for another size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from toolkit.numerics.convolution import convolve, suits_onednn

LARGE = 12e6
"""Bytes of a map or a result above which its convolution is done in bands. Small maps gain nothing and cost time."""

BAND = 3e6
"""Bytes of the larger of a band's input and output.

With 2e6 a decode took 5 % longer than without bands; with 4e6 a rank needed 3 % more memory than with 3e6.
"""


def convolve_in_bands(
    func: Callable[..., Tensor],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: tuple[int, ...] = (1, 1),
    padding: tuple[int, ...] = (0, 0),
    dilation: tuple[int, ...] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Convolve as :func:`toolkit.numerics.convolution.convolve` does, in bands if the map is large and contiguous.

    Args:
        func: ``torch.conv2d``; any other convolution is passed on.
        x: The map, ``1 c h w``.
        weight: The weight, ``o c kh kw``.
        bias: The bias, ``o``.
        stride: The stride along h and w.
        padding: The padding along h and w, with zeros.
        dilation: The dilation along h and w.
        groups: Number of groups of channels.

    Example:
        >>> x, weight = torch.ones(1, 8, 700, 700), torch.ones(4, 8, 3, 3)
        >>> y = convolve_in_bands(torch.conv2d, x, weight, padding=(1, 1))
        >>> float(y[0, 0, 350, 350]), float(y[0, 0, 0, 0])
        (72.0, 32.0)
    """
    # The larger of the map and its result.
    size = x.nbytes // max(1, x.shape[1]) * max(x.shape[1], len(weight))
    plain = {*stride, *dilation, groups, len(x)} == {1}
    # A map in another memory format is not copied by oneDNN.
    copied = func is torch.conv2d and x.is_contiguous() and suits_onednn(x, weight)
    if size <= LARGE or not plain or not copied:
        return convolve(func, x, weight, bias, stride, padding, dilation, groups)
    rows = x.shape[2] + 2 * padding[0] - weight.shape[2] + 1
    out = x.new_empty(1, len(weight), rows, x.shape[3] + 2 * padding[1] - weight.shape[3] + 1)
    step = max(1, int(rows * BAND // size))
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        # Output row i reads the input rows from i - padding on, as many as the kernel is high.
        first, last = start - padding[0], stop - 1 - padding[0] + weight.shape[2]
        top, bottom = max(0, first), min(x.shape[2], last)
        # Only bands at the map's own edges see its padding. Rows that it adds at the other side of them are dropped.
        edge = first < 0 or last > x.shape[2]
        band = convolve(func, x[:, :, top:bottom], weight, bias, 1, padding if edge else (0, padding[1]), 1, 1)
        skip = start - top if edge else 0
        out[:, :, start:stop] = band[:, :, skip : skip + stop - start]
    return out
