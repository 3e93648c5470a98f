"""Telling calls apart: by the shapes of their arguments (the signature), and by their values (the digest).

Every result brings the digest of its call's arguments. A rank whose own call has another digest was given other noise,
prompts or timesteps, and raises instead of mixing two different runs.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.stages.deferred import settled
from toolkit.numerics.tensor_compat import tree_leaves, tree_map

_MASK = (1 << 63) - 1
"""Digests travel as int64, so they have 63 bits."""

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers by the bytes that a value has."""


def signature(arguments: Any) -> str:
    """Describe the form of a call's arguments: calls with the same signature send the same shapes between stages.

    Example:
        >>> signature({"x": torch.zeros(2, 3), "return_dict": False})
        "{'x': 2x3 float32, 'return_dict': False}"
    """
    return repr(tree_map(_form, settled(arguments))).replace("'<", "").replace(">'", "")


def _form(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return f"<{'x'.join(map(str, leaf.shape))} {str(leaf.dtype).removeprefix('torch.')}>"
    # The repr of other objects may hold an address, which differs from rank to rank.
    return leaf if isinstance(leaf, int | float | str | bool | type(None)) else f"<{type(leaf).__name__}>"


def digest(arguments: Any, read: Callable[[Tensor], int] = int) -> int:
    """Compute a number of 63 bits from a call's arguments, values included; it is the same on every rank.

    Args:
        arguments: Nested containers with tensors.
        read: Reads the number in a tensor of one element; see :class:`toolkit.distributed.comm.rank.Rank`.

    Example:
        >>> noise = torch.randn(8)
        >>> digest([noise]) == digest([noise.clone()]), digest([noise]) == digest([noise + 1])
        (True, False)
    """
    total = int.from_bytes(blake2b(signature(arguments).encode(), digest_size=8).digest(), "little")
    for tensor in tree_leaves(settled(arguments)):
        if isinstance(tensor, Tensor) and tensor.numel():
            # A sum does not see the order of its terms. Every third value once more shows most changes of order, for a
            # third of the price.
            flat = tensor.detach().reshape(-1)
            total = total * 31 + read(_bits(flat)) * 7 + read(_bits(flat[::3]))
    return total & _MASK


def _bits(tensor: Tensor) -> Tensor:
    """Add up the bits of all values, read as integers.

    Integers wrap around and so have the same sum in any order, with any number of threads; floats do not. And not
    torch.hash_tensor, which XORs: there, pairs of equal bits cancel, so noise and its negative look the same.
    """
    parts = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return parts.view(_INTEGERS[parts.dtype.itemsize]).sum(dtype=torch.int64)
