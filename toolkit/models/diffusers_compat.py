"""Private and moving names of diffusers, each behind a function of ours.

Two reasons bring a name here. Some are private, or lie in modules that move between releases: then a new release breaks
this file and its test, and nothing else. And diffusers takes seconds to import and brings transformers along, so no
function of the toolkit that only computes may import it: what must be named is looked up here, when it is needed.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from torch import nn

from toolkit.errors import ModelError

CLASS_KEY = "_class_name"
"""The key of a saved ``config.json`` or ``model_index.json`` that names the class."""

LOCAL_HOOKS = ("cp_input---", "cp_output---", "layerwise_casting", "peft_autocast_disable")
"""Beginnings of the names of diffusers' hooks that need no more than their own module's call."""


def diffusers_module(module: str = "") -> Any:
    """Import diffusers, or a module within it, when it is first needed."""
    return import_module(f"diffusers.{module}" if module else "diffusers")


# Classes by name.


def diffusers_version() -> str:
    """Return the version of the diffusers that is installed."""
    version: str = diffusers_module().__version__
    return version


def class_named(name: object) -> type[Any] | None:
    """Return the class that diffusers exports under a name; None if it exports no class of that name.

    Example:
        >>> class_named("AutoencoderKL").__name__, class_named("AutoencoderOfMine")
        ('AutoencoderKL', None)
    """
    found = getattr(diffusers_module(), name, None) if isinstance(name, str) else None
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
    return issubclass(cls, diffusers_module().ModelMixin)


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


def has_pipelines(package: str) -> bool:
    """Whether diffusers has a package of pipelines of this name; nothing of it is imported.

    Example:
        >>> has_pipelines("wan"), has_pipelines("os"), has_pipelines("../evil")
        (True, False, False)
    """
    return package.isidentifier() and find_spec(f"diffusers.pipelines.{package}") is not None


def diffusers_logging() -> Any:
    """Return the module that turns diffusers' progress bars on and off."""
    return diffusers_module("utils.logging")


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
    return diffusers_module("models.autoencoders.autoencoder_kl_wan")


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


def ignore_on_load(cls: Any, base: Any, *, patterns: list[str]) -> None:
    """Let ``from_pretrained`` of a class pass over weights whose names match, beside those its base passes over.

    The reason for ``_keys_to_ignore_on_load_unexpected``: it is the only switch that keeps ``from_pretrained`` from
    warning about the weights of layers that are not built.
    """
    cls._keys_to_ignore_on_load_unexpected = [*(base._keys_to_ignore_on_load_unexpected or []), *patterns]


def note_origin(module: Any, folder: str) -> None:
    """Record where a model came from, as ``from_pretrained`` does, under the config's ``_name_or_path``."""
    module.register_to_config(_name_or_path=folder)
