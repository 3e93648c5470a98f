"""The work of an operator: its arithmetic, and the bytes that it reads and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from toolkit.numerics.tensor_compat import tree_leaves

_aten = torch.ops.aten
_COUNTED_AS = {
    # torch's table has no formula for these two; they do the same work, and take the same first arguments.
    _aten.mkldnn_convolution: _aten.convolution,
    _aten._scaled_dot_product_flash_attention_for_cpu: _aten._scaled_dot_product_flash_attention,
}


class Work(NamedTuple):
    """What an operator has to do at least.

    Attributes:
        operations: Floating-point operations of products; 0 where the operator multiplies no matrices.
        bytes: Bytes of the tensors that it is given and of what it returns.
    """

    operations: int
    bytes: int

    def seconds(self, operations: float, bandwidth: float) -> float:
        """The time at a device's full speed.

        Example:
            >>> Work(2_000_000, 1_000).seconds(operations=1e9, bandwidth=1e9)
            0.002
        """
        return max(self.operations / operations, self.bytes / bandwidth)

    def rates(self, seconds: float) -> tuple[float, float]:
        """Operations and bytes per second, if it took so long."""
        return self.operations / seconds, self.bytes / seconds

    def ratio(self, other: Work) -> float:
        """How many times more work this is than ``other``, another shape of the same operator."""
        if self.operations and other.operations:
            return self.operations / other.operations
        return self.bytes / max(1, other.bytes)

    def distance(self, other: Work) -> float:
        """How different two amounts of work are; 0 if they are the same."""
        return abs(log(max(self.ratio(other), 1e-12)))


def work_of(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Work:
    """The work of one call of an operator.

    Example:
        >>> a, b = torch.ones(4, 8), torch.ones(8, 2)
        >>> work_of(_aten.mm.default, (a, b), {}, a @ b)
        Work(operations=128, bytes=224)
    """
    tensors = [value for value in tree_leaves((args, kwargs, out)) if isinstance(value, Tensor)]
    packet = func.overloadpacket
    count = flop_registry.get(_COUNTED_AS.get(packet, packet))
    # A oneDNN convolution is never transposed, but its seventh argument is not the one that says so.
    given = (*args[:6], False) if packet is _aten.mkldnn_convolution else args
    operations = 0 if count is None else int(count(*given, **kwargs, out_val=out))
    return Work(operations, sum(value.numel() * value.element_size() for value in tensors))
