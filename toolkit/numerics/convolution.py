"""A faster kernel for small fp32 convolutions on a CPU.

ATen uses oneDNN for fp32 CPU convolutions of batch 1 only above 20480 cells (the product of the first four dims, which
are ``b c t h`` for a video). Below, it uses its own kernel, which is up to several times slower per pixel and rounds
differently. Tiles are below this bound more often than the whole sample, so two ranks can be slower than one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from toolkit.errors import PlanError

Convolutions = Literal["onednn", "aten"]
_BOUND = 20480


class OneDnnConvolutions(TorchFunctionMode):
    """In this context, small fp32 CPU convolutions run in oneDNN, like large ones.

    This changes only ``conv2d`` and ``conv3d`` without gradients, and only where ATen would use its own kernel. The
    result differs from ATen's by rounding.

    Example:
        >>> x, weight = torch.ones(1, 3, 8, 8), torch.ones(4, 3, 3, 3)
        >>> with OneDnnConvolutions():
        ...     y = torch.conv2d(x, weight, padding=1)
        >>> float(y[0, 0, 4, 4])
        27.0
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.conv2d or func is torch.conv3d:
            return convolve(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def convolution_kernels(kind: Convolutions) -> AbstractContextManager[Any]:
    """The context for ``kind``: ``"onednn"`` for small fp32 CPU convolutions, or ``"aten"`` for ATen's own choice.

    Raises:
        PlanError: If ``kind`` is neither.
    """
    if kind not in get_args(Convolutions):
        raise PlanError(f"convolutions={kind!r}: must be one of {', '.join(get_args(Convolutions))}.")
    return OneDnnConvolutions() if kind == "onednn" else nullcontext()


def convolve(
    func: Callable[..., Tensor],
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    """Call ``func`` with the other arguments, or oneDNN if ATen would not use it for a small fp32 CPU convolution."""
    if not _kept_from_onednn(input, weight, padding=padding, groups=groups):
        return func(input, weight, bias, stride, padding, dilation, groups)
    n = weight.ndim - 2
    return torch.mkldnn_convolution(
        input, weight, bias, _tuple(padding, n), _tuple(stride, n), _tuple(dilation, n), groups
    )


def _kept_from_onednn(input: Tensor, weight: Tensor, *, padding: object, groups: int) -> bool:
    # ATen uses oneDNN by itself for several samples or groups and above the bound. Padding by name is left to ATen.
    return (
        suits_onednn(input, weight)
        and len(input) == groups == 1
        and not isinstance(padding, str)
        and input.shape[:4].numel() <= _BOUND
    )


def suits_onednn(input: Tensor, weight: Tensor) -> bool:
    """Whether a convolution is one that oneDNN computes in fp32 on a CPU.

    Kernels of width 1, gradients and autocast are left to ATen.
    """
    return (
        input.dtype == weight.dtype == torch.float32
        and input.device.type == "cpu"
        and input.ndim == weight.ndim
        and weight.shape[-1] > 1
        and not (torch.is_grad_enabled() and (input.requires_grad or weight.requires_grad))
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
    )


def _tuple(value: Any, n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else tuple(value)
