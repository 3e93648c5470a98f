"""Checks of models and shapes where public functions take them, before anything is read from them."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set

from torch import nn

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.checks import check_ints, shown


def check_module(name: str, model: object) -> None:
    """Refuse a model that is not a module of torch.

    Example:
        >>> check_module("vae", 3)
        Traceback (most recent call last):
        ...
        toolkit.errors.ModelError: vae=3 is no module: give a model, such as AutoencoderKL.from_pretrained(...).
    """
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{name}={shown(model)} is no module: give a model, such as AutoencoderKL.from_pretrained(...)."
        )


def check_shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of an autoencoder's input as a tuple; refuse anything else.

    Example:
        >>> check_shape("latent", [1, 16, 60, 104])
        (1, 16, 60, 104)
        >>> check_shape("latent", (16, 60, 104))
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: latent=(16, 60, 104): must be b c h w or b c t h w, in ints, or the tensor itself.
    """
    if not isinstance(shape, Collection) or isinstance(shape, str | bytes | Set) or len(shape) not in (4, 5):
        raise PlanError(f"{name}={shown(shape)}: must be b c h w or b c t h w, in ints, or the tensor itself.")
    for index, size in enumerate(shape):
        check_ints(1, **{f"{name}[{index}]": size})
    return tuple(shape)
