"""Tensor parallelism: ranks that each hold a part of the weights of a transformer's layers.

Of two linear maps after each other, a rank has the first one's rows for its own heads or channels, and the second one's
columns for them; the second one's results are added up over the ranks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.hooks.tensor_parallel import TPShardSpec, resolve_tp_shard_specs
from torch import Tensor, nn

from toolkit.errors import ModelError, PlanError

Total = Callable[[Tensor], Tensor]
"""Adds up a tensor over the ranks that share a layer's weights."""

_ATTENTION = {"to_q": "colwise", "to_k": "colwise", "to_v": "colwise", "to_out.0": "rowwise"}
_IMAGE = {"add_k_proj": "colwise", "add_v_proj": "colwise"}


def _wan(wan: Any) -> dict[str, Any]:
    plan = {f"blocks.*.{attention}.{name}": how for attention in ("attn1", "attn2") for name, how in _ATTENTION.items()}
    if wan.config.added_kv_proj_dim is not None:
        plan |= {f"blocks.*.attn2.{name}": how for name, how in _IMAGE.items()}
    return plan | {"blocks.*.ffn.net.0.proj": "colwise", "blocks.*.ffn.net.2": "rowwise"}


def _stated(transformer: Any) -> dict[str, Any]:
    plan: dict[str, Any] = transformer._tp_plan
    return plan


PLANS: Mapping[str, tuple[Callable[[Any], dict[str, Any]], str]] = {
    "WanTransformer3DModel": (_wan, "diffusers states none: its queries and keys are normed over all heads"),
    "FluxTransformer2DModel": (_stated, "stated by diffusers; norms are of single heads"),
    "Flux2Transformer2DModel": (_stated, "stated by diffusers; norms are of single heads"),
    "QwenImageTransformer2DModel": (_stated, "stated by diffusers; norms are of single heads"),
}
"""Which linear maps of a class are cut along rows ("colwise", as their results' columns) or columns, and why so."""

_PARTS = "_toolkit_parts"
"""Attribute of a transformer whose weights are cut: for how many parts."""

_ACROSS_HEADS: Mapping[str, tuple[str, ...]] = {"WanAttention": ("norm_q", "norm_k", "norm_added_k")}
"""Norms over all heads of an attention whose forward counts heads by ``heads``."""


def check_weights(transformer: nn.Module, parts: int) -> None:
    """Refuse a transformer whose weights cannot be shared.

    Raises:
        ModelError: for a class that is not in :data:`PLANS`, or fused projections.
        PlanError: where ``parts`` divides not its heads, or not the width of a linear map.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> check_weights(transformer("Wan").build(), 2)
    """
    name, config = type(transformer).__name__, _config(transformer)
    if (cut := vars(transformer).get(_PARTS)) is not None:
        if cut != parts:
            raise PlanError(f"tp={parts} for a {name} whose weights are cut for tp={cut}: load it anew.")
        return
    if name not in PLANS:
        raise ModelError(
            f"{name} cannot share its weights (tp={parts}): that is known of {', '.join(PLANS)}. Use tp=1, and more "
            "stages instead."
        )
    if any(getattr(module, "fused_projections", False) for module in transformer.modules()):
        raise ModelError(f"{name} has fused projections, which are not cut: call unfuse_qkv_projections().")
    if config.num_attention_heads % parts:
        raise PlanError(
            f"tp={parts} for {name}, which has {config.num_attention_heads} heads: every rank has as many of them. Use "
            f"a divisor of {config.num_attention_heads}."
        )
    _specs(transformer, parts)


def share_weights(transformer: nn.Module, layers: Iterable[str], part: int, parts: int, total: Total) -> nn.Module:
    """A twin of a transformer whose layers have one part of their weights.

    Args:
        transformer: of a class in :data:`PLANS`. It is not changed; the twin shares all that is not cut. Weights that
            are cut along rows are parts of the memory of the whole, those along columns are copied.
        layers: names of the layers to cut; others may be on the meta device.
        part: which part.
        parts: how many there are.
        total: adds up over all parts, in place or not.

    Raises:
        ModelError: where its weights cannot be shared: the class is not known, or a layer has adapters or hooks.
        PlanError: where they do not divide.
    """
    check_weights(transformer, parts)
    if _PARTS in vars(transformer):
        return _with(transformer, {name: _bound(module, total) for name, module in _totalling(transformer)}, 1)
    specs = _specs(transformer, parts)
    changed: dict[str, nn.Module] = {}
    for layer in layers:
        block = transformer.get_submodule(layer)
        _check_plain(f"{type(transformer).__name__}.{layer}", block)
        for path, module in block.named_modules():
            name = f"{layer}.{path}"
            if f"{name}.weight" in specs:
                changed[name] = _linear(name, module, specs[f"{name}.weight"], part, parts, total)
            for norm in _ACROSS_HEADS.get(type(module).__name__, ()):
                if hasattr(module, norm):
                    _check_kind(f"{name}.{norm}", getattr(module, norm), nn.RMSNorm)
                    changed[f"{name}.{norm}"] = NormAcrossHeads(getattr(module, norm), part, parts, total)
    return _with(transformer, changed, parts)


def cut_weights(transformer: nn.Module, layers: Iterable[str], part: int, parts: int) -> nn.Module:
    """What :func:`share_weights` makes a twin of, to be kept in the transformer's place: it has memory of its own.

    Where the transformer itself is let go of, the weights of other ranks go with it.

    Raises:
        ModelError: where its weights cannot be shared: the class is not known, or a layer has adapters or hooks.
        PlanError: where they do not divide.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> wan = transformer("Wan").build(layers=1)
        >>> half = cut_weights(wan, ["blocks.0"], 1, 2)
        >>> wan.blocks[0].ffn.net[2].weight.shape, half.blocks[0].ffn.net[2].weight.shape
        (torch.Size([64, 64]), torch.Size([64, 32]))
    """
    twin = share_weights(transformer, layers, part, parts, _unbound)
    whole = {id(parameter) for parameter in transformer.parameters()}
    for parameter in twin.parameters():
        if id(parameter) not in whole and parameter.untyped_storage().nbytes() > parameter.nbytes:
            parameter.data = parameter.data.clone()
    vars(twin)[_PARTS] = parts
    return twin


class SummedLinear(nn.Module):
    """A linear map over a part of its inputs; results are added up over the parts, then comes the bias."""

    def __init__(self, weight: Tensor, bias: Tensor | None, total: Total) -> None:
        super().__init__()
        self.weight, self.total = nn.Parameter(weight, requires_grad=False), total
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """The whole map's result, of ``x`` with this part's channels."""
        y = self.total(F.linear(x, self.weight))
        return y if self.bias is None else y + self.bias


class NormAcrossHeads(nn.Module):
    """An RMS norm over channels of which this rank has a part; the sum of squares is that of all parts.

    Args:
        norm: over all channels.
        part: which part of them this is.
        parts: how many there are.
        total: adds up over the parts.

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
        """``x`` with this part's channels, normed in float32."""
        wide = x.float()
        squares = self.total(wide.square().sum(-1, keepdim=True))
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        return (wide * torch.rsqrt(squares / self.width + eps) * self.weight.float()).type_as(x)


def _unbound(tensor: Tensor) -> Tensor:
    raise RuntimeError(f"{tuple(tensor.shape)}: cut weights compute only among the ranks that share them.")


def _totalling(transformer: nn.Module) -> list[tuple[str, nn.Module]]:
    return [
        (n, module) for n, module in transformer.named_modules() if isinstance(module, SummedLinear | NormAcrossHeads)
    ]


def _bound(module: nn.Module, total: Total) -> nn.Module:
    twin = copy.copy(module)
    vars(twin)["total"] = total
    return twin


def _specs(transformer: nn.Module, parts: int) -> dict[str, TPShardSpec]:
    """How each weight is cut, by name."""
    plan, _ = PLANS[type(transformer).__name__]
    try:
        specs: dict[str, TPShardSpec] = resolve_tp_shard_specs(transformer, plan(transformer), parts)
    except ValueError as error:
        raise PlanError(f"tp={parts} for {type(transformer).__name__}: {error} Use a divisor of it.") from error
    return specs


def _linear(name: str, module: nn.Module, spec: TPShardSpec, part: int, parts: int, total: Total) -> nn.Module:
    _check_kind(name, module, nn.Linear)
    assert isinstance(module, nn.Linear)
    weight, bias = module.weight.detach(), None if module.bias is None else module.bias.detach()
    if spec.dim == 1:
        return SummedLinear(_cut(weight, spec, part, parts), bias, total)
    rows = _cut(weight, spec, part, parts)
    cut = nn.Linear(rows.shape[1], rows.shape[0], bias is not None, device="meta")
    cut.weight = nn.Parameter(rows, requires_grad=False)
    if bias is not None:
        cut.bias = nn.Parameter(_cut(bias, spec, part, parts), requires_grad=False)
    return cut.train(module.training)


def _cut(tensor: Tensor, spec: TPShardSpec, part: int, parts: int) -> Tensor:
    """One part of each block that lies along a dimension."""
    blocks = [block.chunk(parts, spec.dim)[part] for block in tensor.split(spec.block_sizes, spec.dim)]
    return blocks[0].contiguous() if len(blocks) == 1 else torch.cat(blocks, spec.dim)


def _check_plain(name: str, block: nn.Module) -> None:
    """Refuse what a copy of a layer would not take along."""
    for path, module in block.named_modules():
        own = f"{name}.{path}".rstrip(".")
        if "forward" in vars(module) or module._compiled_call_impl is not None:
            raise ModelError(
                f"{own} has hooks or is compiled, which belong to the whole weights: with tp, load it without "
                "layerwise casting and do not compile it."
            )
        if isinstance(getattr(module, "processor", None), nn.Module):
            raise ModelError(
                f"{own} has an adapter with weights of its own, which are not cut: unload it, or use tp=1."
            )


def _check_kind(name: str, module: nn.Module, kind: type[nn.Module]) -> None:
    """Refuse to cut the weights of what does more with them than its class."""
    if type(module) is not kind:
        raise ModelError(
            f"{name} is a {type(module).__name__}, and only weights of nn.{kind.__name__} itself are cut: fuse "
            "adapters and unload them (fuse_lora, unload_lora_weights), or load without quantization."
        )
    if module._forward_hooks or module._forward_pre_hooks:
        raise ModelError(f"{name} has forward hooks, which would see a part of its channels: remove them, or use tp=1.")


def _with(module: nn.Module, changed: Mapping[str, nn.Module], parts: int) -> nn.Module:
    """A shallow copy of a tree of modules with some of them replaced."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    below: dict[str, dict[str, nn.Module]] = {}
    for path, new in changed.items():
        child, _, rest = path.partition(".")
        if rest:
            below.setdefault(child, {})[rest] = new
        else:
            twin._modules[child] = new
    for child, news in below.items():
        twin._modules[child] = _with(module.get_submodule(child), news, parts)
    if type(module).__name__ in _ACROSS_HEADS:
        _divide_heads(twin, parts)
    return twin


def _divide_heads(attention: Any, parts: int) -> None:
    attention.heads //= parts


def _config(transformer: Any) -> Any:
    return transformer.config
