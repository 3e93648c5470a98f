"""Frames as pixels: samples in -1..1 as 8-bit colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from einops import rearrange
from torch import Tensor
from torch.nn.functional import avg_pool2d


def reduced(frame: Tensor, block: int) -> Tensor:
    """A frame ``c h w`` in three channels, each pixel the mean of a block; grey unless it has three channels.

    Example:
        >>> from torch import ones
        >>> reduced(ones(4, 5, 6), 2).shape
        torch.Size([3, 3, 3])
    """
    frame = frame.float()
    small = avg_pool2d(frame, block, ceil_mode=True, count_include_pad=False) if block > 1 else frame
    return small if len(small) == 3 else small.mean(dim=0, keepdim=True).expand(3, -1, -1)


def pixels(colours: Tensor) -> npt.NDArray[np.uint8]:
    """Samples ``3 h w`` in -1..1 as bytes ``h w 3``; NaN is black.

    Example:
        >>> from torch import tensor
        >>> pixels(tensor([[[-1.0]], [[0.0]], [[2.0]]])).tolist()
        [[[0, 128, 255]]]
    """
    scaled = ((colours.nan_to_num(nan=-1.0).clamp(-1, 1) + 1) * 127.5).round().byte()
    found: npt.NDArray[np.uint8] = rearrange(scaled, "c h w -> h w c").contiguous().numpy()
    return found
