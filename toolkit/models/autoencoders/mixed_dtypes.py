"""Models whose layers are in several dtypes: what torch says of two that meet is said of the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from toolkit.errors import ModelError, ToolkitError


@contextmanager
def mixture_named(vae: Any) -> Iterator[None]:
    """Name the dtypes of a model where an operation inside the block refuses to compute two of them together.

    Whether a mixture works depends on the model's own casts, so it is not known before a call.

    Raises:
        ModelError: In place of a RuntimeError of torch, for a model of several dtypes.
    """
    try:
        yield
    except ToolkitError:
        raise
    except RuntimeError as error:
        mixed = _by_dtype(vae) if isinstance(vae, nn.Module) else {}
        if len(mixed) < 2 or not any(word in str(error) for word in ("type", "Float", "Half")):
            raise
        listed = ", ".join(f"{dtype} in {where}" for dtype, where in sorted(mixed.items()))
        raise ModelError(
            f"{type(vae).__name__} has layers of several dtypes ({listed}), and one of them was given another's "
            f"output: {error}. Bring the model to one dtype, vae.to(dtype)."
        ) from error


def _by_dtype(vae: nn.Module) -> dict[str, str]:
    """The floating-point dtypes of a model's weights, each with the first layer that has it."""
    found: dict[str, str] = {}
    for path, weight in vae.named_parameters():
        if weight.dtype.is_floating_point:
            found.setdefault(str(weight.dtype), path.rpartition(".")[0])
    return found
