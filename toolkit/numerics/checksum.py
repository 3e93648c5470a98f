"""A checksum of a tensor's bytes, at the speed of memory: whether its numbers have changed, whoever wrote to them."""

from __future__ import annotations

from typing import Any

import torch
import xxhash
from torch import Tensor


def checksum(tensor: Tensor) -> int:
    """The 128-bit XXH3 of a tensor's numbers in row-major order. It is quick, and no protection against an attacker.

    A tensor on an accelerator is copied to the host for it.

    Example:
        >>> x = torch.zeros(3)
        >>> before = checksum(x)
        >>> x.data[1] = 1.0  # torch's version counter does not see this
        >>> checksum(x) == before, checksum(x.clone()) == checksum(x)
        (False, True)
    """
    return int(xxhash.xxh3_128_intdigest(bytes_of(tensor)))


def bytes_of(tensor: Tensor) -> Any:
    """A tensor's numbers in row-major order, as a NumPy array of bytes; without a copy where they lie so already."""
    plain = tensor.detach().to("cpu").resolve_conj().resolve_neg()
    return plain.contiguous().view(-1).view(torch.uint8).numpy()
