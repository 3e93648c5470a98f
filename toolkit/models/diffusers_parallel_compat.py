"""Private and moving names of diffusers that concern parallelism, each behind a function of ours.

The reasons are those of :mod:`toolkit.models.diffusers_compat`. diffusers calls sequence parallelism "context
parallelism".
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

from torch import nn

from toolkit.models.diffusers_compat import diffusers_module

_HOOKED = ("forward", "_diffusers_hook")
"""The attributes of a module that a hook of diffusers sets."""


def is_parallel(transformer: nn.Module) -> bool:
    """Whether ``enable_parallelism`` was called on a transformer, which leaves a config in ``_parallel_config``."""
    return getattr(transformer, "_parallel_config", None) is not None


def attention_processors(transformer: nn.Module) -> list[Any]:
    """List the attention processors that can share a sequence, each once; they have a place for a parallel config."""
    found = (getattr(module, "processor", None) for module in transformer.modules())
    return list({id(one): one for one in found if hasattr(one, "_parallel_config")}.values())


def unshared_backends(processors: list[Any]) -> list[str]:
    """List the attention backends of some processors with which a sequence cannot be shared.

    The reason for ``_AttentionBackendRegistry`` and ``_attention_backend``: diffusers asks them in
    ``enable_parallelism``, which is not called here, and a backend that cannot share would fail in the first attention,
    when other ranks already wait in theirs.
    """
    dispatch = diffusers_module("models.attention_dispatch")
    registry = dispatch._AttentionBackendRegistry
    active = registry.get_active_backend()[0]
    chosen = (one._attention_backend for one in processors)
    backends = {active if own is None else dispatch.AttentionBackendName(own) for own in chosen}
    return sorted(one.value for one in backends if not registry._is_context_parallel_available(one))


def ulysses_config(mesh: Any, device: Any) -> Any:
    """Make the parallel config that ``enable_parallelism`` would, for Ulysses over all ranks of a mesh of one axis.

    The reason for setting its private fields: the public ``setup`` counts accelerators, of which a CPU has none, and
    makes a process group anew where the mesh has one. That is collective over all ranks, also those of other stages.
    """
    diffusers = diffusers_module()
    config = diffusers.ContextParallelConfig(ulysses_degree=mesh.size(), mesh=mesh)
    config._rank, config._world_size, config._device = mesh.get_local_rank(), mesh.size(), device
    config._mesh = config._flattened_mesh = config._ulysses_mesh = mesh
    config._ulysses_local_rank, config._ring_local_rank = mesh.get_local_rank(), 0
    return diffusers.ParallelConfig(context_parallel_config=config)


def sequence_hooks(transformer: nn.Module, config: Any) -> dict[nn.Module, dict[str, Any]]:
    """Return the attributes that diffusers' hooks for a shared sequence set on each module, and set none of them.

    ``apply_context_parallel`` registers hooks on the modules that the class's ``_cp_plan`` names. They are taken off
    again here and kept, so that a call can put on the very same ones: compiled layers know them by identity.
    """
    apply = diffusers_module("hooks.context_parallel").apply_context_parallel
    modules = list(transformer.modules())
    before = {module: _taken(module, (*_HOOKED, "_parallel_config")) for module in modules}
    try:
        for module in modules:
            vars(module).pop("_diffusers_hook", None)  # hooks of their own stay within forward
        apply(transformer, config.context_parallel_config, transformer._cp_plan)
        hooked = [module for module in modules if "_diffusers_hook" in vars(module)]
        for module in hooked:
            if any(name.startswith("cp_output") for name in vars(module)["_diffusers_hook"].hooks):
                vars(module)["forward"] = _without_warnings(module.forward, config.context_parallel_config)
        return {module: {name: vars(module)[name] for name in _HOOKED} for module in hooked}
    finally:
        for module, attributes in before.items():
            _restore(module, attributes)


def _without_warnings(forward: Callable[..., Any], config: Any) -> Callable[..., Any]:
    """Let a module gather without torch's warning about the collective that diffusers gathers with.

    Only around the gathering: a rehearsal changes threads in the middle of a transformer's call, and Python keeps its
    filters of warnings for all threads together. It also changes threads while ranks tell each other unequal sizes;
    with those, diffusers gathers with another collective.
    """

    @wraps(forward)
    def quiet(*args: Any, **kwargs: Any) -> Any:
        if config.ulysses_anything:
            return forward(*args, **kwargs)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*all_gather_tensor.* is deprecated", FutureWarning)
            return forward(*args, **kwargs)

    return quiet


@contextmanager
def sharing(processors: list[Any], config: Any, *, hooks: Mapping[nn.Module, Mapping[str, Any]]) -> Iterator[None]:
    """Put a parallel config on processors and hooks on modules, and put back what they had at the end."""
    settings: list[tuple[Any, Mapping[str, Any]]] = [(one, {"_parallel_config": config}) for one in processors]
    settings += hooks.items()
    before = [(thing, _taken(thing, (*_HOOKED, "_parallel_config"))) for thing, _ in settings]
    try:
        for thing, values in settings:
            vars(thing).update(values)
        yield
    finally:
        for thing, attributes in reversed(before):
            _restore(thing, attributes)


def _taken(thing: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """The attributes of its own that a thing has among some names."""
    return {name: vars(thing)[name] for name in names if name in vars(thing)}


def _restore(thing: Any, attributes: Mapping[str, Any]) -> None:
    for name in (*_HOOKED, "_parallel_config"):
        vars(thing).pop(name, None)
    vars(thing).update(attributes)


# Tensor parallelism.


def stated_tensor_plan(transformer: Any) -> dict[str, Any]:
    """Return which linear maps a class says may be cut, and how: its ``_tp_plan``."""
    plan: dict[str, Any] = transformer._tp_plan
    return plan


def cuts_of(transformer: nn.Module, plan: Mapping[str, Any], *, parts: int) -> dict[str, Any]:
    """Resolve a plan for tensor parallelism to the cut of each weight, by its name.

    The reason for the deep import: ``resolve_tp_shard_specs`` knows diffusers' fused projections, whose blocks are cut
    one by one.

    Returns:
        For each weight an object with ``dim``, the dim to cut along (None: whole), and ``block_sizes`` along it.

    Raises:
        ValueError: If a weight's size is not divisible by ``parts``.
    """
    resolve: Callable[..., dict[str, Any]] = diffusers_module("hooks.tensor_parallel").resolve_tp_shard_specs
    return resolve(transformer, dict(plan), parts)
