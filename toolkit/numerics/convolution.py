"""The convolution kernel that small fp32 tiles fall into on a CPU, and the way around it.

ATen hands a CPU convolution of batch 1 in fp32 to oneDNN only above 20480 cells (the first four dims multiplied:
``b c t h`` of a video); below, it runs a kernel of its own that is up to several times slower per pixel and rounds
differently. Tiles fall under that bound sooner than the whole sample, which can turn a gain from two ranks into a loss.
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
    """Within this context, small fp32 CPU convolutions run in oneDNN, as large ones do.

    Only ``conv2d`` and ``conv3d`` without gradients are touched, and only those that ATen would keep from oneDNN. The
    result differs from ATen's own by rounding.

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
    """The context in which fp32 CPU convolutions use the kernels of ``kind``: ``"onednn"``, or ``"aten"``'s choice.

    Raises:
        PlanError: for another kind.
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
    """``func`` of the other arguments, in oneDNN where ATen would keep a small fp32 CPU convolution from it."""
    if not _kept_from_onednn(input, weight, padding, groups):
        return func(input, weight, bias, stride, padding, dilation, groups)
    n = weight.ndim - 2
    return torch.mkldnn_convolution(
        input, weight, bias, _tuple(padding, n), _tuple(stride, n), _tuple(dilation, n), groups
    )


def _kept_from_onednn(input: Tensor, weight: Tensor, padding: object, groups: int) -> bool:
    return (
        input.dtype == weight.dtype == torch.float32
        and input.device.type == "cpu"
        and input.ndim == weight.ndim
        and len(input) == groups == 1
        and not isinstance(padding, str)
        and weight.shape[-1] > 1
        and input.shape[:4].numel() <= _BOUND
        and not (torch.is_grad_enabled() and (input.requires_grad or weight.requires_grad))
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
    )


def _tuple(value: Any, n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else tuple(value)
