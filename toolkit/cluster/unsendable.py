"""What cannot be sent to workers, found by its path: a lock in a layer, a compiled function over a method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from toolkit.cluster.engines.parcel import take_apart
from toolkit.errors import ModelError, PlanError, ToolkitError
from toolkit.models.module_compat import forward_hooks, is_compiled_function


def named(error: Exception, value: Any, name: str) -> Exception:
    """The error to raise where ``value`` could not be pickled.

    Args:
        error: What pickling it, or copying its tensors, raised.
        value: What was to be sent.
        name: What to call it.

    Returns:
        A ModelError or PlanError that names the part which cannot be pickled; ``error`` itself if that is the
        toolkit's own, or everything can be pickled and something else went wrong.

    Example:
        >>> from threading import Lock
        >>> linear = nn.Linear(2, 2)
        >>> linear.lock = Lock()
        >>> raise named(TypeError(), nn.Sequential(linear), "model")
        Traceback (most recent call last):
        toolkit.errors.ModelError: model.0.lock is a lock, which cannot be sent to another process (TypeError: cannot
        pickle '_thread.lock' object). Take it off the model for the call, or make it where it is used.
    """
    if isinstance(error, ToolkitError | OSError | MemoryError) or (why := _refusal(value)) is None:
        return error
    path, part, why = _innermost(name, value, why)
    kind, text = type(part).__name__, f"{type(why).__name__}: {why}"
    if is_compiled_function(part):
        remedy = f"Delete it (del {path}), so that the method under it is used, or compile the module in place."
    elif isinstance(value, nn.Module):
        remedy = "Take it off the model for the call, or make it where it is used."
    else:
        remedy = "Give a value that can be pickled, or make it inside the function."
    message = f"{path} is a {kind}, which cannot be sent to another process ({text}). {remedy}"
    return ModelError(message) if isinstance(value, nn.Module) else PlanError(message)


def _refusal(value: Any) -> Exception | None:
    """What pickling a value raises; None if it can be pickled."""
    try:
        take_apart(value)
    except Exception as error:
        return error
    return None


def _innermost(path: str, value: Any, why: Exception) -> tuple[str, Any, Exception]:
    """Follow what cannot be pickled from a value to the innermost part that has no such part itself."""
    seen = {id(value)}
    while True:
        # What hangs on a compiled function is torch's own.
        for step, part in () if is_compiled_function(value) else _parts(value):
            if id(part) not in seen and (found := _refusal(part)) is not None:
                seen.add(id(part))
                path, value, why = path + step, part, found
                break
        else:
            return path, value, why


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a value that pickling it pickles, with the step that leads to each."""
    if isinstance(value, nn.Module):
        for name, child in value.named_children():
            yield f".{name}", child
        for place, hook in enumerate(forward_hooks(value)):
            yield f"'s hook {place}", hook
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f"[{key!r}]", item
    elif isinstance(value, list | tuple | set | frozenset):
        for place, item in enumerate(value):
            yield f"[{place}]", item
    slots = [name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ())]
    held = {name: getattr(value, name) for name in slots if isinstance(name, str) and hasattr(value, name)}
    for name, part in {**held, **getattr(value, "__dict__", {})}.items():
        # The tables of a module: its children have been looked at.
        if not (isinstance(value, nn.Module) and name.startswith("_")):
            yield f".{name}", part
