"""Sequence parallelism: ranks that each hold a part of a transformer's sequence, with diffusers' own hooks.

Ulysses: outside of attention a rank computes its own tokens; for attention the ranks exchange tokens for heads, so that
each has the whole sequence for its own heads.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from diffusers import ContextParallelConfig, ParallelConfig
from diffusers.hooks.context_parallel import apply_context_parallel
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from torch import nn

from toolkit.errors import ModelError, NotExact, PlanError

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sequences:
    """What of a class's call is shared.

    Attributes:
        lengths: the length of each sequence that its hooks cut, from the transformer and the call's arguments.
        mask: the argument that masks tokens, where it has one.
        refused: an argument that takes a way of its own through attention, which does not share.
        positions: how many dimensions its ids of tokens (``img_ids``, ``txt_ids``) need to be cut, where it has any.
    """

    lengths: Callable[[Any, Arguments], dict[str, int]]
    mask: str | None = None
    refused: str | None = None
    positions: int | None = None


def _wan(wan: Any, call: Arguments) -> dict[str, int]:
    sizes = zip(call["hidden_states"].shape[2:], wan.config.patch_size, strict=True)
    return {"hidden_states": math.prod(size // patch for size, patch in sizes)}


def _both(_: Any, call: Arguments) -> dict[str, int]:
    return {name: call[name].shape[1] for name in ("hidden_states", "encoder_hidden_states")}


SEQUENCES: Mapping[str, Sequences] = {
    "WanTransformer3DModel": Sequences(_wan),
    "FluxTransformer2DModel": Sequences(_both, positions=2),
    "Flux2Transformer2DModel": Sequences(_both, refused="kv_cache_mode", positions=3),
    "QwenImageTransformer2DModel": Sequences(_both, mask="encoder_hidden_states_mask"),
}
"""Classes whose hooks (``_cp_plan``) were found to give the whole transformer's result, each held to it by a test."""


def check_sequence(transformer: nn.Module, parts: int) -> None:
    """Refuse a transformer whose sequence cannot be shared.

    Raises:
        ModelError: for a class that is not in :data:`SEQUENCES`, one that shares already, or an attention that cannot.
        PlanError: where ``parts`` does not divide its heads.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> check_sequence(transformer("Wan").build(), 2)
    """
    name = type(transformer).__name__
    if name not in SEQUENCES:
        raise ModelError(
            f"{name} cannot share its sequence (sp={parts}): that is known of {', '.join(SEQUENCES)}. Use sp=1, and tp "
            "or more stages instead."
        )
    if getattr(transformer, "_parallel_config", None) is not None:
        raise ModelError(f"{name} is parallel already: load it anew, without enable_parallelism.")
    heads = _config(transformer).num_attention_heads
    if heads % parts:
        raise PlanError(
            f"sp={parts} for {name}, which has {heads} heads: every rank takes as many heads for its attention. Use a "
            f"divisor of {heads}."
        )
    for backend in {_backend(processor) for processor in _processors(transformer)}:
        if not _AttentionBackendRegistry._is_context_parallel_available(backend):
            raise ModelError(
                f"{name} computes attention with {backend.value!r}, which cannot share a sequence: call "
                "transformer.set_attention_backend('native')."
            )


class SharedSequence:
    """Shares the sequence of a transformer's calls among ranks, each for as long as it lasts.

    Args:
        transformer: of a class in :data:`SEQUENCES`. Outside of a call it is as it was found.
        mesh: the ranks: a one-dimensional ``DeviceMesh``. All of them make the same calls.
        device: where the transformer computes.

    Raises:
        ModelError: where its sequence cannot be shared.
        PlanError: where its heads cannot.
    """

    def __init__(self, transformer: nn.Module, mesh: Any, device: Any) -> None:
        self.parts: int = mesh.size()
        check_sequence(transformer, self.parts)
        self.transformer, self.rule = transformer, SEQUENCES[type(transformer).__name__]
        self._config = _configured(mesh, device)
        self._signature = inspect.signature(transformer.forward)
        self._hooked = self._hook()

    @contextmanager
    def __call__(self, args: tuple[Any, ...], kwargs: Arguments) -> Iterator[None]:
        """Share the sequence of one call with these arguments.

        Raises:
            PlanError: where the number of ranks does not divide the tokens, or text has fewer than there are ranks.
            NotExact: where diffusers would take a mask for another.
        """
        shared = self._config.context_parallel_config
        shared.ulysses_anything = self._uneven(self._signature.bind(*args, **kwargs).arguments)
        with ExitStack() as stack:
            for processor in _processors(self.transformer):
                stack.enter_context(_attributes(processor, {"_parallel_config": self._config}))
            for module, hooked in self._hooked.items():
                stack.enter_context(_attributes(module, hooked))
            stack.enter_context(warnings.catch_warnings())
            # of torch, about what diffusers calls to gather
            warnings.filterwarnings("ignore", ".*all_gather_tensor.* is deprecated", FutureWarning)
            yield

    def _uneven(self, call: Arguments) -> bool:
        """Whether text has to be cut in unequal parts, for which ranks tell each other their sizes."""
        name, rule = type(self.transformer).__name__, self.rule
        if rule.refused is not None and call.get(rule.refused) is not None:
            raise NotExact(f"{name} with {rule.refused} does not share its sequence: leave it out, or use sp=1.")
        for ids in ("img_ids", "txt_ids") if rule.positions else ():
            if call[ids].ndim != rule.positions:
                raise PlanError(
                    f"{ids} has shape {tuple(call[ids].shape)}: with sp={self.parts}, {name} needs it with "
                    f"{rule.positions} dimensions, as its pipeline makes it."
                )
        lengths = rule.lengths(self.transformer, call)
        tokens = lengths["hidden_states"]
        if tokens % self.parts:
            raise PlanError(
                f"hidden_states has {tokens} tokens, which sp={self.parts} does not divide: every rank takes as many. "
                f"Use sp={math.gcd(tokens, self.parts)}, or another size or number of frames."
            )
        text = lengths.get("encoder_hidden_states", self.parts)
        if text < self.parts:
            raise PlanError(
                f"encoder_hidden_states has {text} tokens, fewer than sp={self.parts} ranks: use a lower sp."
            )
        uneven = {what: length for what, length in lengths.items() if length % self.parts}
        if uneven and self.parts > 2 and rule.mask is not None and call.get(rule.mask) is not None:
            # Their padded parts are joined with the padding between them, and only the end is cut off.
            raise NotExact(
                f"{name} with {rule.mask} and {uneven} tokens, which sp={self.parts} does not divide: diffusers cuts "
                "masks for two ranks only. Use sp=2, or one prompt a call, which needs no mask."
            )
        return bool(uneven)

    def _hook(self) -> dict[nn.Module, dict[str, Any]]:
        """What diffusers' hooks put on modules. It is made once: compiled layers know them by identity."""
        plan: Mapping[str, Any] = _plan(self.transformer)
        modules = [module for module in self.transformer.modules() if isinstance(module, nn.Module)]
        with ExitStack() as stack:
            for module in modules:
                stack.enter_context(_attributes(module, {}))
                vars(module).pop("_diffusers_hook", None)  # hooks of their own stay within forward
            apply_context_parallel(self.transformer, self._config.context_parallel_config, plan)
            return {
                module: {name: vars(module)[name] for name in _HOOKED}
                for module in modules
                if "_diffusers_hook" in vars(module)
            }


_HOOKED = ("forward", "_diffusers_hook")
"""The attributes of a module that diffusers' hooks set."""


def _configured(mesh: Any, device: Any) -> Any:
    """What ``enable_parallelism`` makes of a config.

    It would count accelerators, of which a CPU has none, and make a group anew where the mesh has it already.
    """
    config = ContextParallelConfig(ulysses_degree=mesh.size(), mesh=mesh)
    config._rank, config._world_size, config._device = mesh.get_local_rank(), mesh.size(), device
    config._mesh = config._flattened_mesh = config._ulysses_mesh = mesh
    config._ulysses_local_rank, config._ring_local_rank = mesh.get_local_rank(), 0
    return ParallelConfig(context_parallel_config=config)


@contextmanager
def _attributes(thing: Any, values: Mapping[str, Any]) -> Iterator[None]:
    """Attributes of its own for a while; then it has those it had."""
    names = (*_HOOKED, "_parallel_config")
    before = {name: vars(thing)[name] for name in names if name in vars(thing)}
    vars(thing).update(values)
    try:
        yield
    finally:
        for name in names:
            vars(thing).pop(name, None)
        vars(thing).update(before)


def _processors(transformer: nn.Module) -> list[Any]:
    """Those attention processors that can share; each once."""
    found = (getattr(module, "processor", None) for module in transformer.modules())
    return list({id(one): one for one in found if hasattr(one, "_parallel_config")}.values())


def _backend(processor: Any) -> AttentionBackendName:
    own = processor._attention_backend
    return _AttentionBackendRegistry.get_active_backend()[0] if own is None else AttentionBackendName(own)


def _plan(transformer: Any) -> Mapping[str, Any]:
    plan: Mapping[str, Any] = transformer._cp_plan
    return plan


def _config(transformer: Any) -> Any:
    return transformer.config
