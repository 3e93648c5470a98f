"""Operations that see the whole map, replaced by ones that see a cell: what is left is the reach of convolutions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from toolkit.errors import ModelError
from toolkit.models.protocols import Autoencoder

GlobalOperation = Literal["norm", "attention"]

_NORMS = (F.group_norm, torch.group_norm, F.instance_norm, torch.instance_norm)
_DRAWS = (torch.randn, torch.rand, torch.normal, torch.randn_like, torch.rand_like, Tensor.normal_)
# Linear attention is not a function of torch: a module of diffusers computes it, in methods of these names.
_METHODS = ("apply_linear_attention", "apply_quadratic_attention")


class Locally(TorchFunctionMode):
    """A context in which group normalisation and attention pass each cell on alone, NaN or not.

    Args:
        keep: The operations to leave as they are.

    Attributes:
        met: The operations of either kind that were called, kept or not.
        draws: Whether random numbers were drawn.

    Example:
        >>> x = torch.tensor([[[1.0, torch.nan]]])
        >>> with Locally() as seen:
        ...     y = F.group_norm(x, 1)
        >>> y.isnan().tolist(), seen.met
        ([[[False, True]]], {'norm'})
    """

    def __init__(self, keep: Set[GlobalOperation] = frozenset()) -> None:
        super().__init__()
        self.keep = keep
        self.met: set[GlobalOperation] = set()
        self.draws = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.draws = self.draws or func in _DRAWS
        if func in _NORMS and self.replaces("norm"):
            # Only NaN matters: NaN * 0 stays NaN and everything else becomes 0, which keeps a network without its
            # norms from overflowing to infinities, and those to NaN.
            return (args[0] if args else kwargs["input"]) * 0
        if func is F.scaled_dot_product_attention and self.replaces("attention"):
            return _values(*args, **kwargs)
        return func(*args, **kwargs)

    def replaces(self, operation: GlobalOperation) -> bool:
        """Note that an operation was met, and return whether to replace it."""
        self.met.add(operation)
        return operation not in self.keep


@contextmanager
def locally(vae: Autoencoder, keep: Set[GlobalOperation] = frozenset()) -> Iterator[Locally]:
    """Run a model under :class:`Locally`, with its linear attention replaced on the instance as well.

    Args:
        vae: The model; its methods are restored at the end.
        keep: The operations to leave as they are.
    """
    mode = Locally(keep)
    found: list[tuple[nn.Module, str, Any]] = []
    for module in vae.modules():
        for name in _METHODS:
            if hasattr(module, name):
                found.append((module, name, vars(module).get(name)))
                setattr(module, name, _linear_attention(mode, getattr(module, name)))
    try:
        with mode:
            yield mode
    finally:
        for module, name, own in found:
            # Deleting the attribute uncovers the class's method; an instance that had its own gets that back.
            delattr(module, name)
            if own is not None:
                setattr(module, name, own)


def _linear_attention(mode: Locally, method: Callable[..., Tensor]) -> Any:
    def values(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return value if mode.replaces("attention") else method(query, key, value)

    return values


def _values(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    """Stand in for attention: each query gets its own value, as if it attended to itself alone."""
    if query.shape[:-1] != value.shape[:-1]:
        raise ModelError(
            f"attention of {tuple(query.shape)} queries over {tuple(value.shape)} values: only attention of a map over "
            "itself can be told apart from convolutions, so this model's receptive field is not measured. Use tiles "
            "that blend."
        )
    return value
