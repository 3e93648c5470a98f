"""``F.normalize`` along the channels of a map, several times faster on a CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """What :func:`torch.nn.functional.normalize` computes, with the sums of squares from ``torch.linalg.vecdot``.

    torch's norm is slow along a dim that is not the innermost: 30 ms for 32 x 4 x 128 x 256 values on a core on which
    this takes 6. The two differ in the last bits. Narrow dtypes, in which squares would lose digits, and other norms
    are left to torch.

    Example:
        >>> x = torch.randn(1, 8, 5, 5)
        >>> bool(torch.allclose(normalize(x), F.normalize(x)))
        True
    """
    if p != 2 or out is not None or input.dtype not in (torch.float32, torch.float64) or not isinstance(dim, int):
        return F.normalize(input, p, dim, eps, out)
    return input / torch.linalg.vecdot(input, input, dim=dim).sqrt_().clamp_min_(eps).unsqueeze(dim)
