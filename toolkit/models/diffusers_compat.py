"""Private and moving names of diffusers, each behind a function of ours.

Two reasons bring a name here. Some are private, or lie in modules that move between releases: then a new release breaks
this file and its test, and nothing else. And diffusers takes seconds to import and brings transformers along, so no
function of the toolkit that only computes may import it: what must be named is looked up here, when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from torch import nn

from toolkit.errors import ModelError

CLASS_KEY = "_class_name"
"""The key of a saved ``config.json`` or ``model_index.json`` that names the class."""

LOCAL_HOOKS = ("cp_input---", "cp_output---", "layerwise_casting", "peft_autocast_disable")
"""Beginnings of the names of diffusers' hooks that need no more than their own module's call."""

_HOOKED = ("forward", "_diffusers_hook")
"""The attributes of a module that a hook of diffusers sets."""


def _diffusers(module: str = "") -> Any:
    """Import diffusers, or a module within it, when it is first needed."""
    return import_module(f"diffusers.{module}" if module else "diffusers")


# Classes by name.


def diffusers_version() -> str:
    """Return the version of the diffusers that is installed."""
    version: str = _diffusers().__version__
    return version


def class_named(name: object) -> type[Any] | None:
    """Return the class that diffusers exports under a name; None if it exports no class of that name.

    Example:
        >>> class_named("AutoencoderKL").__name__, class_named("AutoencoderOfMine")
        ('AutoencoderKL', None)
    """
    found = getattr(_diffusers(), name, None) if isinstance(name, str) else None
    return found if isinstance(found, type) else None


def model_named(name: str) -> Any:
    """Return the class that diffusers exports under a name.

    Raises:
        ModelError: If it exports none of that name.

    Example:
        >>> model_named("AutoencoderTiny").__name__
        'AutoencoderTiny'
    """
    cls = class_named(name)
    if cls is None:
        raise ModelError(f"diffusers {diffusers_version()} has no class {name}: install a diffusers that has it.")
    return cls


def is_model_class(cls: type[Any]) -> bool:
    """Whether a class is a model of diffusers: one that ``from_config`` and ``from_pretrained`` can make."""
    return issubclass(cls, _diffusers().ModelMixin)


def component_module(library: str) -> Any:
    """Import the module in which a pipeline's index looks for a class: a package of pipelines, or another library.

    The reason for the deep import: an index names ``"wan"`` for ``diffusers.pipelines.wan``, and the function that
    resolves it in diffusers is private. If the packages of pipelines move, components of a pipeline's own are not
    found.

    Raises:
        ImportError: If neither exists.
    """
    own = f"diffusers.pipelines.{library}"
    return import_module(own if find_spec(own) else library)


def diffusers_logging() -> Any:
    """Return the module that turns diffusers' progress bars on and off."""
    return _diffusers("utils.logging")


def is_configured(value: object) -> bool:
    """Whether a value is one of diffusers' configured objects, as a scheduler is.

    It is asked of the value's methods, not its base class ``ConfigMixin``, so that a process that only computes need
    not import diffusers' configuration.

    Example:
        >>> from diffusers import DDIMScheduler
        >>> is_configured(DDIMScheduler()), is_configured({})
        (True, False)
    """
    return callable(getattr(type(value), "register_to_config", None))


# Caches of Wan and its descendants.


def decoder_cache(vae: Any) -> dict[str, Any]:
    """Return the arguments that give one call of a Wan-like decoder its causal cache, the place counter at zero.

    The reason for ``_feat_map`` and ``_conv_idx``: the class's own ``tiled_decode`` passes them, and without them each
    frame of a tile would be decoded as if it were the first of a video.
    """
    vae._conv_idx = [0]
    return {"feat_cache": vae._feat_map, "feat_idx": vae._conv_idx}


def encoder_cache(vae: Any) -> dict[str, Any]:
    """Return the same for one call of a Wan-like encoder, which keeps ``_enc_feat_map`` and ``_enc_conv_idx``."""
    vae._enc_conv_idx = [0]
    return {"feat_cache": vae._enc_feat_map, "feat_idx": vae._enc_conv_idx}


def wan_layers() -> Any:
    """Return the module with the layers of Wan's autoencoder (``WanCausalConv3d``, ``WanResample``, ...).

    The reason for the deep import: the demo model's training starts from and works on single layers, which diffusers
    does not export. Only training needs it.
    """
    return _diffusers("models.autoencoders.autoencoder_kl_wan")


def causal_padding(layer: Any) -> tuple[int, ...]:
    """Return the padding of a ``WanCausalConv3d``: both sides of w, of h, and of t.

    The reason for ``_padding``: the layer pads by itself and reports a padding of 0 to the convolution that it is.
    """
    padding: tuple[int, ...] = layer._padding
    return padding


# Hooks.


def accelerate_hook(module: nn.Module) -> Any:
    """Return the hook that accelerate put on a module for offloading; None if there is none.

    The reason for ``_hf_hook``: accelerate keeps it there and lists hooks nowhere. Unnoticed, it would move the weights
    of layers that another stage owns.
    """
    return getattr(module, "_hf_hook", None)


def foreign_hooks(module: nn.Module) -> list[str]:
    """List the names of diffusers' hooks on a module that may depend on other layers than it.

    The reason for ``_diffusers_hook``: the registry is an attribute of the module and has no public getter. Unnoticed,
    a step cache or a group offload would reach over the border of a stage.
    """
    registry: Any = getattr(module, "_diffusers_hook", None)
    return [] if registry is None else [name for name in registry.hooks if not name.startswith(LOCAL_HOOKS)]


# Loading.


def ignore_on_load(cls: Any, base: Any, patterns: list[str]) -> None:
    """Let ``from_pretrained`` of a class pass over weights whose names match, beside those its base passes over.

    The reason for ``_keys_to_ignore_on_load_unexpected``: it is the only switch that keeps ``from_pretrained`` from
    warning about the weights of layers that are not built.
    """
    cls._keys_to_ignore_on_load_unexpected = [*(base._keys_to_ignore_on_load_unexpected or []), *patterns]


def note_origin(module: Any, folder: str) -> None:
    """Record where a model came from, as ``from_pretrained`` does, under the config's ``_name_or_path``."""
    module.register_to_config(_name_or_path=folder)


# Sequence parallelism. diffusers calls it context parallelism.


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
    dispatch = _diffusers("models.attention_dispatch")
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
    diffusers = _diffusers()
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
    apply = _diffusers("hooks.context_parallel").apply_context_parallel
    modules = list(transformer.modules())
    before = {module: _taken(module, (*_HOOKED, "_parallel_config")) for module in modules}
    try:
        for module in modules:
            vars(module).pop("_diffusers_hook", None)  # hooks of their own stay within forward
        apply(transformer, config.context_parallel_config, transformer._cp_plan)
        hooked = [module for module in modules if "_diffusers_hook" in vars(module)]
        return {module: {name: vars(module)[name] for name in _HOOKED} for module in hooked}
    finally:
        for module, attributes in before.items():
            _restore(module, attributes)


@contextmanager
def sharing(processors: list[Any], config: Any, hooks: Mapping[nn.Module, Mapping[str, Any]]) -> Iterator[None]:
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


def cuts_of(transformer: nn.Module, plan: Mapping[str, Any], parts: int) -> dict[str, Any]:
    """Resolve a plan for tensor parallelism to the cut of each weight, by its name.

    The reason for the deep import: ``resolve_tp_shard_specs`` knows diffusers' fused projections, whose blocks are cut
    one by one.

    Returns:
        For each weight an object with ``dim``, the dim to cut along (None: whole), and ``block_sizes`` along it.

    Raises:
        ValueError: If a weight's size is not divisible by ``parts``.
    """
    resolve: Callable[..., dict[str, Any]] = _diffusers("hooks.tensor_parallel").resolve_tp_shard_specs
    return resolve(transformer, dict(plan), parts)
