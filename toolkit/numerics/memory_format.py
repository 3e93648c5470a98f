"""The memory format of a map: whether the channels of one cell lie beside each other, or the cells of one channel."""

from __future__ import annotations

import torch
from torch import Tensor


def memory_format_of(x: Tensor) -> torch.memory_format:
    """The memory format in which torch's kernels treat ``x``: channels-last if it is so, else contiguous.

    Example:
        >>> memory_format_of(torch.ones(1, 2, 3, 4).to(memory_format=torch.channels_last))
        torch.channels_last
    """
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim)
    is_last = last is not None and not x.is_contiguous() and x.is_contiguous(memory_format=last)
    return last if last is not None and is_last else torch.contiguous_format
