"""Tensor parallelism: ranks that each hold a part of the weights of a transformer's layers.

The transformer's own code runs unchanged on a twin, whose linear maps are replaced by parts of themselves (see
:mod:`toolkit.models.transformers.cut_modules`) and whose attentions count only the rank's own heads.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from toolkit.errors import ModelError, PlanError
from toolkit.models.diffusers_parallel_compat import cuts_of
from toolkit.models.module_compat import copy_with_own_children
from toolkit.models.protocols import Transformer
from toolkit.models.transformers.cut_modules import (
    NormAcrossHeads,
    SummedLinear,
    Total,
    check_kind,
    check_plain,
    cut_linear,
)
from toolkit.models.transformers.transformer_table import TRANSFORMER_ENTRIES, entry_of, part_of

_PARTS = "_toolkit_parts"
"""Attribute of a transformer whose weights are cut already: the number of parts."""


def check_weights(transformer: nn.Module, parts: int) -> None:
    """Refuse a transformer whose weights cannot be shared.

    Args:
        transformer: The whole model.
        parts: The number of ranks that share its weights.

    Raises:
        ModelError: If nothing is known of how its class shares weights, or its projections are fused.
        PlanError: If the number of its heads, or the width of a linear map, is not divisible by ``parts``.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> check_weights(transformer("Wan").build(), 2)
    """
    name, config = type(transformer).__name__, _config(transformer)
    if (cut := vars(transformer).get(_PARTS)) is not None:
        if cut != parts:
            raise PlanError(f"tp={parts} for a {name} whose weights are cut for tp={cut}: load it again.")
        return
    entry = entry_of(type(transformer))
    if entry is None or entry.weights is None:
        served = [cls for cls, known in TRANSFORMER_ENTRIES.items() if known.weights is not None]
        raise ModelError(
            f"{name} cannot share its weights (tp={parts}): only {', '.join(served)} are known to. Use tp=1, and more "
            "stages instead."
        )
    # Fused maps replace to_q, to_k and to_v by one, which the plan does not name.
    if any(getattr(module, "fused_projections", False) for module in transformer.modules()):
        raise ModelError(f"{name} has fused projections, which are not cut: call unfuse_qkv_projections().")
    if config.num_attention_heads % parts:
        raise PlanError(
            f"tp={parts} for {name}, which has {config.num_attention_heads} heads: every rank has the same number of "
            f"them. Use a divisor of {config.num_attention_heads}."
        )
    _cuts(transformer, parts)


def share_weights(transformer: nn.Module, layers: Iterable[str], *, part: int, parts: int, total: Total) -> nn.Module:
    """Make a twin of a transformer whose layers have one part of their weights.

    Args:
        transformer: A transformer whose class has an entry with ``weights``. It is not changed, and the twin shares all
            that is not cut. Weights cut by rows are views of the whole's memory; those cut by columns are copied.
        layers: Names of the layers to cut; others may be on the meta device.
        part: Which part.
        parts: The number of parts.
        total: The function that adds up over all parts, in place or not.

    Raises:
        ModelError: If its weights cannot be shared: the class is not known, or a layer has adapters or hooks.
        PlanError: If they do not divide.
    """
    check_weights(transformer, parts)
    if _PARTS in vars(transformer):
        # Cut when it was loaded, without knowing the ranks: only what adds up is replaced. No heads to divide again.
        return _with(transformer, {name: _bound(module, total) for name, module in _totalling(transformer)}, parts=1)
    cuts = _cuts(transformer, parts)
    changed: dict[str, nn.Module] = {}
    for layer in layers:
        block = transformer.get_submodule(layer)
        check_plain(f"{type(transformer).__name__}.{layer}", block)
        for path, module in block.named_modules():
            name = f"{layer}.{path}"
            if f"{name}.weight" in cuts:
                changed[name] = cut_linear(
                    name, module, cut=cuts[f"{name}.weight"], part=part, parts=parts, total=total
                )
            known = part_of(type(module))
            for norm in known.norms_across_heads if known is not None else ():
                if hasattr(module, norm):
                    check_kind(f"{name}.{norm}", getattr(module, norm), kind=nn.RMSNorm)
                    changed[f"{name}.{norm}"] = NormAcrossHeads(getattr(module, norm), part, parts, total)
    return _with(transformer, changed, parts=parts)


def cut_weights(transformer: nn.Module, layers: Iterable[str], *, part: int, parts: int) -> nn.Module:
    """Make a twin as :func:`share_weights` does, with memory of its own, to keep in the transformer's place.

    Once the transformer itself is dropped, the weights of other ranks are freed with it.

    Args:
        transformer: The whole model.
        layers: Names of the layers to cut.
        part: Which part.
        parts: The number of parts.

    Raises:
        ModelError: If its weights cannot be shared: the class is not known, or a layer has adapters or hooks.
        PlanError: If they do not divide.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> wan = transformer("Wan").build(layers=1)
        >>> half = cut_weights(wan, ["blocks.0"], part=1, parts=2)
        >>> wan.blocks[0].ffn.net[2].weight.shape, half.blocks[0].ffn.net[2].weight.shape
        (torch.Size([64, 64]), torch.Size([64, 32]))
    """
    twin = share_weights(transformer, layers, part=part, parts=parts, total=_unbound)
    whole = {id(parameter) for parameter in transformer.parameters()}
    for parameter in twin.parameters():
        # A part cut by rows is a view, and a view keeps all of the memory alive.
        if id(parameter) not in whole and parameter.untyped_storage().nbytes() > parameter.nbytes:
            parameter.data = parameter.data.clone()
    vars(twin)[_PARTS] = parts
    return twin


def _unbound(tensor: Tensor) -> Tensor:
    """Stand in for the sum until the ranks are known."""
    raise RuntimeError(f"{tuple(tensor.shape)}: cut weights compute only among the ranks that share them.")


def _totalling(transformer: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules that add up over ranks, by name."""
    return [
        (n, module) for n, module in transformer.named_modules() if isinstance(module, SummedLinear | NormAcrossHeads)
    ]


def _bound(module: nn.Module, total: Total) -> nn.Module:
    twin = copy.copy(module)
    vars(twin)["total"] = total
    return twin


def _cuts(transformer: nn.Module, parts: int) -> dict[str, Any]:
    """How each weight is cut, by name."""
    entry = entry_of(type(transformer))
    assert entry is not None
    assert entry.weights is not None
    try:
        return cuts_of(transformer, entry.weights(transformer), parts=parts)
    except ValueError as error:
        raise PlanError(f"tp={parts} for {type(transformer).__name__}: {error} Use a divisor of it.") from error


def _with(module: nn.Module, changed: Mapping[str, nn.Module], *, parts: int) -> nn.Module:
    """Copy a tree of modules with some of them replaced; what lies beside the paths to these is shared."""
    twin = copy_with_own_children(module)
    below: dict[str, dict[str, nn.Module]] = {}
    # Paths are taken apart level by level, so that each container on the way is copied once.
    for path, new in changed.items():
        child, _, rest = path.partition(".")
        if rest:
            below.setdefault(child, {})[rest] = new
        else:
            setattr(twin, child, new)
    for child, news in below.items():
        setattr(twin, child, _with(module.get_submodule(child), news, parts=parts))
    known = part_of(type(module))
    if known is not None and known.norms_across_heads:
        _divide_heads(twin, parts)
    return twin


def _divide_heads(attention: Any, parts: int) -> None:
    # Its forward unflattens channels by this number; other attentions go by the width of a head, which stays.
    attention.heads //= parts


def _config(transformer: Transformer) -> Any:
    return transformer.config
