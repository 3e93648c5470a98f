"""Calls told apart: by the shapes of what they are given, and by its values."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from toolkit.distributed.stages.deferred import settled

_MASK = (1 << 63) - 1


def signature(arguments: Any) -> str:
    """The form of a call's arguments: two calls with the same one send the same shapes between stages.

    Example:
        >>> signature({"x": torch.zeros(2, 3), "return_dict": False})
        "{'x': 2x3 float32, 'return_dict': False}"
    """
    return repr(pytree.tree_map(_form, settled(arguments))).replace("'<", "").replace(">'", "")


def _form(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return f"<{'x'.join(map(str, leaf.shape))} {str(leaf.dtype).removeprefix('torch.')}>"
    return leaf if isinstance(leaf, int | float | str | bool | type(None)) else f"<{type(leaf).__name__}>"


def digest(arguments: Any) -> int:
    """A number of 63 bits that tells a call's arguments from others, their values too: alike on all ranks.

    Example:
        >>> noise = torch.randn(8)
        >>> digest([noise]) == digest([noise.clone()]), digest([noise]) == digest([noise + 1])
        (True, False)
    """
    total = int.from_bytes(blake2b(signature(arguments).encode(), digest_size=8).digest(), "little")
    for tensor in pytree.tree_leaves(settled(arguments)):
        if isinstance(tensor, Tensor) and tensor.numel():
            # XOR does not see where a value stands, and values that come twice cancel: so once more for every third.
            flat = tensor.detach().reshape(-1)
            total = total * 31 + _hash(flat) * 7 + _hash(flat[::3])
    return total & _MASK


def _hash(tensor: Tensor) -> int:
    return int(torch.hash_tensor(tensor).view(torch.int64))
