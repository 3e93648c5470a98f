"""What stages of a transformer cannot serve: refused in one place, before anything runs."""

from __future__ import annotations

from typing import Any

from torch import nn

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.stage_split import StageSplit
from toolkit.models.transformers.layers import layers_of

LOCAL_HOOKS = ("cp_input---", "cp_output---", "layerwise_casting", "peft_autocast_disable")
"""Beginnings of the names of diffusers' hooks that need no more than their own module's call."""


def check_splittable(transformer: nn.Module) -> None:
    """Refuse a transformer in a state that stages cannot serve.

    Raises:
        ModelError: with a step cache, an offload, a hook that is not known to be local to a layer, or a compiled whole.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> check_splittable(transformer("Wan").build())
    """
    name = type(transformer).__name__
    if hasattr(transformer, "_orig_mod") or transformer._compiled_call_impl is not None:
        raise ModelError(
            f"{name} is compiled as a whole: its stages leave its forward in the middle. Compile its layers instead: "
            "transformer.compile_repeated_blocks()."
        )
    if getattr(transformer, "is_cache_enabled", False):
        raise ModelError(
            f"{name} has a step cache: the first layers decide whether all are computed, and they are on one stage "
            "only. Call transformer.disable_cache()."
        )
    for path, module in transformer.named_modules():
        _check_hooks(f"{name}.{path}" if path else name, module)


def check_fits(split: StageSplit, transformer: nn.Module) -> None:
    """Refuse a split that is not of a transformer's layers.

    Raises:
        PlanError: where it has another number of layers.
    """
    layers = len(layers_of(transformer))
    if split.layers != layers:
        raise PlanError(
            f"{split!r} for {type(transformer).__name__}, which has {layers} layers: a split must have as many as the "
            f"transformer. Split {layers} layers."
        )


def _check_hooks(path: str, module: nn.Module) -> None:
    if hasattr(module, "_hf_hook"):
        raise ModelError(
            f"{path} has a hook of accelerate ({type(module._hf_hook).__name__}), which moves weights around calls of "
            "the whole transformer. A stage holds its own layers only, which is what an offload is for: remove it "
            "with pipe.remove_all_hooks(), or load without device_map."
        )
    registry: Any = getattr(module, "_diffusers_hook", None)
    foreign = [hook for hook in registry.hooks if not hook.startswith(LOCAL_HOOKS)] if registry is not None else []
    if foreign:
        raise ModelError(
            f"{path} has diffusers' hook {foreign[0]!r}, which may depend on layers of other stages: caches and "
            "offloads of groups of layers do. Load the transformer without it."
        )
