"""Code in a model that did not come with diffusers or torch: hooks, replaced modules, classes of the user's own.

The rules of exact shards see every operation of torch. They cannot see what a line of Python makes of the number of
rows that a tensor has here, so a model with code that nobody has looked at is tried out first.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from torch import nn

from toolkit.models.autoencoders.autoencoder_table import AUTOENCODER_ENTRIES
from toolkit.models.module_compat import forward_hooks

KNOWN = ("torch", "diffusers")
"""The packages whose modules and functions are those that the parity table was made with."""


def added_code(vae: nn.Module) -> str | None:
    """What in a model is not known to the table of classes, in words; None if nothing is.

    Example:
        >>> from toolkit.models.autoencoders.census import specimen
        >>> vae = specimen("AutoencoderKL").build()
        >>> added_code(vae)
        >>> handle = vae.decoder.conv_in.register_forward_hook(lambda module, args, output: output * 2)
        >>> added_code(vae)
        'decoder.conv_in has a hook, <lambda>'
    """
    name = type(vae).__name__
    if name not in AUTOENCODER_ENTRIES:
        return f"{name} is not in the table of classes"
    return next(_found(vae), None)


def _found(vae: nn.Module) -> Iterator[str]:
    for path, module in vae.named_modules():
        here = path or type(vae).__name__
        if not _is_known(type(module)) or not _is_known(type(module).forward):
            yield f"{here} is a {type(module).__name__}"
        for hook in forward_hooks(module):
            if not _is_known(hook):
                yield f"{here} has a hook, {_name(hook)}"
        for attribute, value in vars(module).items():
            # An attention's processor, an activation, a forward that was put over the class's.
            if callable(value) and not _is_known(value):
                yield f"{here}.{attribute} is {_name(value)}"


def _is_known(code: Any) -> bool:
    """Whether a class, a function or an object that can be called comes with one of the known packages."""
    code = _whole_function(code)
    source = getattr(code, "__module__", None) or type(code).__module__
    # Functions that are written in C have no module, or "builtins".
    return source.partition(".")[0] in (*KNOWN, "builtins")


def _whole_function(code: Any) -> Any:
    while isinstance(code, functools.partial):
        code = code.func
    return code


def _name(code: Any) -> str:
    code = _whole_function(code)
    return getattr(code, "__name__", None) or type(code).__name__
