"""States of a transformer that stages cannot serve: refused in one place, before anything runs."""

from __future__ import annotations

from torch import nn

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.stage_split import StageSplit
from toolkit.models.diffusers_compat import accelerate_hook, foreign_hooks
from toolkit.models.module_compat import is_compiled
from toolkit.models.transformers.layers import layers_of


def check_splittable(transformer: nn.Module) -> None:
    """Refuse a transformer in a state that stages cannot serve.

    Raises:
        ModelError: If it has a step cache, an offload, a hook that is not known to be local to a layer, or is compiled
            as a whole.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> check_splittable(transformer("Wan").build())
    """
    name = type(transformer).__name__
    # Compiled code has no place to leave from, and has read the layers that stand-ins would replace.
    if is_compiled(transformer):
        raise ModelError(
            f"{name} is compiled as a whole, but its stages leave its forward in the middle. Compile its layers "
            "instead: transformer.compile_repeated_blocks()."
        )
    if getattr(transformer, "is_cache_enabled", False):
        raise ModelError(
            f"{name} has a step cache: the first layers decide whether all are computed, and they are on one stage "
            "only. Call transformer.disable_cache()."
        )
    for path, module in transformer.named_modules():
        _check_hooks(f"{name}.{path}" if path else name, module)


def check_fits(split: StageSplit, transformer: nn.Module) -> None:
    """Refuse a split of another number of layers than the transformer has.

    Raises:
        PlanError: If the numbers differ.
    """
    layers = len(layers_of(transformer))
    if split.layers != layers:
        raise PlanError(
            f"{split!r} for {type(transformer).__name__}, which has {layers} layers: a split must have as many layers "
            f"as the transformer. Split {layers} layers."
        )


def _check_hooks(path: str, module: nn.Module) -> None:
    hook = accelerate_hook(module)
    if hook is not None:
        raise ModelError(
            f"{path} has a hook of accelerate ({type(hook).__name__}), which moves weights around calls of the whole "
            "transformer. A stage holds only its own layers, which is what an offload is for: remove it with "
            "pipe.remove_all_hooks(), or load without device_map."
        )
    foreign = foreign_hooks(module)
    if foreign:
        raise ModelError(
            f"{path} has diffusers' hook {foreign[0]!r}, which may depend on layers of other stages: caches and "
            "offloads of groups of layers do. Load the transformer without it."
        )
