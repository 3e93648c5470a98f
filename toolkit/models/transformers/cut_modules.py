"""Modules that hold one part of another module's weights, for tensor parallelism.

Of two linear maps in a row, a rank holds the first one's rows for its own heads or channels, and the second one's
columns for them. In between it needs nobody; the results of the second are added up over the ranks:

    y = W2 f(W1 x)          W1 = [A0]   W2 = [B0 B1]         y = B0 f(A0 x) + B1 f(A1 x)
                                 [A1]                            rank 0       rank 1
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.errors import ModelError
from toolkit.models.module_compat import copy_with_own_parameters, has_forward_hooks, is_compiled

Total = Callable[[Tensor], Tensor]
"""Adds up a tensor over the ranks that share a layer's weights."""


class SummedLinear(nn.Module):
    """A linear map over a part of its inputs: results are added up over the parts, and then the bias is added, once.

    Args:
        weight: This part's columns.
        bias: The whole bias.
        total: The function that adds up over the parts.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, total: Total) -> None:
        super().__init__()
        self.weight, self.total = nn.Parameter(weight, requires_grad=False), total
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the whole map's result from this part's channels."""
        y = self.total(F.linear(x, self.weight))
        return y if self.bias is None else y + self.bias


class NormAcrossHeads(nn.Module):
    """An RMS norm over channels that are divided among ranks; the sum of squares is that of all parts.

    Args:
        norm: The norm over all channels.
        part: Which part of them this is.
        parts: The number of parts.
        total: The function that adds up over the parts.

    Example:
        >>> norm, x = nn.RMSNorm(4, eps=1e-6), torch.tensor([[1.0, 2.0, 3.0, 4.0]])
        >>> half = NormAcrossHeads(norm, 0, 2, total=lambda squares: squares + 3.0**2 + 4.0**2)
        >>> torch.equal(half(x[:, :2]), norm(x)[:, :2])
        True
    """

    def __init__(self, norm: nn.RMSNorm, part: int, parts: int, total: Total) -> None:
        super().__init__()
        self.width, self.eps, self.total = norm.weight.numel(), norm.eps, total
        self.weight = nn.Parameter(norm.weight.detach().chunk(parts)[part], requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Norm this part's channels, in float32."""
        wide = x.float()
        squares = self.total(wide.square().sum(-1, keepdim=True))
        # Without an eps, torch's RMSNorm takes the machine epsilon of the input's dtype.
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        return (wide * torch.rsqrt(squares / self.width + eps) * self.weight.float()).type_as(x)


def cut_linear(name: str, module: nn.Module, *, cut: Any, part: int, parts: int, total: Total) -> nn.Module:
    """Make the part of a linear map that one rank holds.

    Args:
        name: The module's path, for messages.
        module: The whole map.
        cut: How its weight is cut: ``dim`` and ``block_sizes``, see ``diffusers_compat.cuts_of``.
        part: Which part.
        parts: The number of parts.
        total: The function that adds up over the parts.

    Raises:
        ModelError: If the module does more with its weight than ``nn.Linear``, or has hooks.
    """
    check_kind(name, module, kind=nn.Linear)
    assert isinstance(module, nn.Linear)
    weight, bias = module.weight.detach(), None if module.bias is None else module.bias.detach()
    if cut.dim == 1:
        return SummedLinear(_part(weight, cut, part=part, parts=parts), bias, total)
    rows = _part(weight, cut, part=part, parts=parts)
    # A copy with parameters of its own: a new map would draw weights only for them to be replaced.
    own = copy_with_own_parameters(module)
    own.weight, own.out_features = nn.Parameter(rows, requires_grad=False), rows.shape[0]
    if bias is not None:
        own.bias = nn.Parameter(_part(bias, cut, part=part, parts=parts), requires_grad=False)
    return own


def _part(tensor: Tensor, cut: Any, *, part: int, parts: int) -> Tensor:
    """One part of each block that lies along a dim; fused maps (q, k and v in one weight) have several blocks."""
    blocks = [block.chunk(parts, cut.dim)[part] for block in tensor.split(cut.block_sizes, cut.dim)]
    return blocks[0].contiguous() if len(blocks) == 1 else torch.cat(blocks, cut.dim)


def check_plain(name: str, block: nn.Module) -> None:
    """Refuse a layer with something on it that a copy with cut weights would not take along.

    Raises:
        ModelError: If it has hooks, is compiled, or has an adapter with weights of its own.
    """
    for path, module in block.named_modules():
        own = f"{name}.{path}".rstrip(".")
        if "forward" in vars(module) or is_compiled(module):  # diffusers' hooks replace forward on the instance
            raise ModelError(
                f"{own} has hooks or is compiled, which belong to the whole weights: with tp, load it without "
                "layerwise casting and do not compile it."
            )
        if isinstance(getattr(module, "processor", None), nn.Module):
            raise ModelError(
                f"{own} has an adapter with weights of its own, which are not cut: unload it, or use tp=1."
            )


def check_kind(name: str, module: nn.Module, *, kind: type[nn.Module]) -> None:
    """Refuse to cut the weights of a module that does more with them than a class does.

    Raises:
        ModelError: If the module is of a subclass (adapters, quantized maps), or has forward hooks.
    """
    if type(module) is not kind:
        raise ModelError(
            f"{name} is a {type(module).__name__}, and only weights of nn.{kind.__name__} itself are cut: fuse "
            "adapters and unload them (fuse_lora, unload_lora_weights), or load without quantization."
        )
    if has_forward_hooks(module):
        raise ModelError(f"{name} has forward hooks, which would see a part of its channels: remove them, or use tp=1.")
