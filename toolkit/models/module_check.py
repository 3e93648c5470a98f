"""Whether something is a module, and in a state in which it can be sent to other processes and computed there."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from toolkit.errors import ModelError
from toolkit.geometry.checks import shown
from toolkit.models.diffusers_compat import accelerate_hook

WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel")
"""Modules of torch that spread another module, found under ``.module``, over processes or devices of their own."""


def check_is_module(name: str, model: object) -> None:
    """Refuse a model that is not a module of torch.

    Example:
        >>> check_is_module("vae", 3)
        Traceback (most recent call last):
        ...
        toolkit.errors.ModelError: vae=3 is no module: give a model, such as AutoencoderKL.from_pretrained(...).
    """
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{name}={shown(model)} is no module: give a model, such as AutoencoderKL.from_pretrained(...)."
        )


def check_module(name: str, module: nn.Module, *, weights: bool = True) -> None:
    """Refuse a module that is wrapped for training over several devices, or whose weights are not plain numbers.

    Args:
        name: What to call it.
        module: The module.
        weights: Whether its weights must have values; a rehearsal does without.

    Raises:
        ModelError: If it is wrapped, or a weight is sharded, quantised, sparse, or on the meta device.

    Example:
        >>> check_module("vae", nn.Linear(2, 2, device="meta"))
        Traceback (most recent call last):
        toolkit.errors.ModelError: vae.weight is on the meta device and has no values: load the weights first, for
        example by from_pretrained. Without weights, use tk.rehearse.
    """
    for path, part in module.named_modules():
        if any(base.__name__ in WRAPPERS and base.__module__.startswith("torch.") for base in type(part).__mro__):
            where = f"{name}.{path}" if path else name
            raise ModelError(
                f"{where} is wrapped in {type(part).__name__}, which spreads it over devices itself: give the module "
                f"that is inside, {where}.module."
            )
        for attribute, tensor in [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]:
            where = ".".join(filter(None, (name, path, attribute)))
            if weights and tensor.is_meta and accelerate_hook(part) is not None:
                raise ModelError(
                    f"{where} is offloaded by accelerate, which brings it in when its layer is called: call "
                    "pipe.remove_all_hooks(), or load without offload and device_map."
                )
            _check_tensor(where, tensor, weights=weights)
        _check_packed(f"{name}.{path}" if path else name, part)


def _check_tensor(path: str, tensor: Any, *, weights: bool) -> None:
    kind = type(tensor).__name__
    if kind == "DTensor":
        raise ModelError(
            f"{path} is a DTensor, a part of a weight that is spread over processes (as by fully_shard): load the "
            "model whole, without it."
        )
    if kind in ("UninitializedParameter", "UninitializedBuffer"):
        raise ModelError(f"{path} is not made yet, as lazy modules are before their first call: call the model once.")
    if tensor.layout is not torch.strided:
        raise ModelError(f"{path} is a sparse tensor, and workers take dense ones: assign its .to_dense() instead.")
    if tensor.is_quantized:
        raise ModelError(f"{path} is quantised by torch, and workers take plain tensors: load the model unquantised.")
    if weights and tensor.is_meta:
        raise ModelError(
            f"{path} is on the meta device and has no values: load the weights first, for example by from_pretrained. "
            "Without weights, use tk.rehearse."
        )


def _check_packed(path: str, part: nn.Module) -> None:
    """Refuse layers that torch has quantised: their weights are packed, and neither parameters nor buffers."""
    if type(part).__module__.startswith("torch.ao.nn.quantized"):
        raise ModelError(
            f"{path} is quantised by torch ({type(part).__name__}), and its weights are packed for this process: load "
            "the model unquantised."
        )
