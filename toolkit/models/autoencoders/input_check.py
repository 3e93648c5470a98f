"""The input of a decode or encode, looked at before anything runs: what the model's own call would refuse, in words."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.errors import NotFiniteWarning, PlanError
from toolkit.models.autoencoders.autoencoder_table import entry_of
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.model_call import ModelCall, ambient_autocast
from toolkit.models.autoencoders.stated import stated
from toolkit.models.protocols import Autoencoder
from toolkit.numerics.finite import not_finite

WHAT = {Direction.DECODE: "latent", Direction.ENCODE: "sample"}
"""What the input of each call is called."""
NOT_FINITE = "not finite in the input"
"""The entry of a record that counts NaN and infinite values."""


def check_input(vae: Autoencoder, x: object, call: ModelCall, *, values: bool = True) -> None:
    """Refuse an input that the model's own call would refuse, or would get wrong.

    Args:
        vae: A diffusers autoencoder, or a module like one.
        x: The input of its call.
        call: The model call to make.
        values: Whether the input must have values; a rehearsal does without.

    Raises:
        PlanError: If the input is not a plain tensor, or its shape or dtype is not what the model takes.

    Example:
        >>> from toolkit.models.autoencoders.census import specimen
        >>> kl = specimen("AutoencoderKL")
        >>> check_input(kl.build(), kl.latent(4, 4).half(), ModelCall())
        Traceback (most recent call last):
        toolkit.errors.PlanError: latent is torch.float16, but AutoencoderKL has weights of torch.float32, and its own
        decode does not cast: give latent.to(torch.float32), or autocast=.
    """
    what, name = WHAT[call.direction], type(vae).__name__
    if not isinstance(x, Tensor):
        raise PlanError(f"{what} is a {type(x).__name__}: give the torch.Tensor that vae.{call.direction} takes.")
    _check_kind(x, what, values=values)
    check_shape(vae, tuple(x.shape), call)
    if not _takes(vae, x.dtype, call):
        dtypes = sorted(map(str, _weight_dtypes(vae, call.direction)))
        raise PlanError(
            f"{what} is {x.dtype}, but {name} has weights of {' and '.join(dtypes)}, and its own {call.direction} does "
            f"not cast: give {what}.to({dtypes[-1]}), or autocast=."
        )


def check_shape(vae: Autoencoder, shape: Sequence[int], call: ModelCall) -> None:
    """Refuse an input that is empty, or, for classes in the table, has other dims or channels than the model takes.

    Raises:
        PlanError: If it is, or has.

    Example:
        >>> from toolkit.models.autoencoders.census import specimen
        >>> check_shape(specimen("AutoencoderKL").build(), (4, 8, 8), ModelCall())
        Traceback (most recent call last):
        toolkit.errors.PlanError: decode of shape (4, 8, 8): AutoencoderKL decodes b c h w. Give a latent of 4 dims.
    """
    way, what, name, found = call.direction, WHAT[call.direction], type(vae).__name__, tuple(shape)
    if 0 in found:
        raise PlanError(f"{what} of shape {found} is empty: every size must be at least 1.")
    entry = entry_of(type(vae))
    # A recipe of the user's own may be for another layout than the class has.
    if entry is None or entry.tiles is None or call.options.recipe is not None:
        return
    layout = "b c t h w" if entry.tiles.frames else "b c h w"
    if len(found) != len(layout.split()):
        raise PlanError(f"{way} of shape {found}: {name} {way}s {layout}. Give a {what} of {len(layout.split())} dims.")
    channels = _channels(vae, way, patch=entry.tiles.patch)
    if channels is not None and found[1] != channels:
        raise PlanError(
            f"{way} of shape {found}: it has {found[1]} channels, and this {name} {way}s {channels} ({layout}). Give "
            f"a {what} of {channels} channels in its second dim."
        )


def warn_of_not_finite(x: Tensor, call: ModelCall, *, stacklevel: int) -> dict[str, object]:
    """Warn of an input that holds NaN or infinite values.

    Args:
        x: An input that :func:`check_input` has passed.
        call: The model call to make.
        stacklevel: As :func:`warnings.warn` takes it, counted from the caller.

    Returns:
        What the record of the run should say of it; empty if all values are finite.
    """
    found = not_finite(x)
    if found is None:
        return {}
    count, first = found
    warnings.warn(
        f"{count} of {x.numel()} values of the {WHAT[call.direction]} are NaN or infinite, the first at {first}: "
        "convolutions, norms and attention spread them over the output. Look at where the input comes from.",
        NotFiniteWarning,
        stacklevel=stacklevel + 1,
    )
    return {NOT_FINITE: {"values": count, "first": list(first)}}


def _check_kind(x: Tensor, what: str, *, values: bool) -> None:
    """Refuse tensors that are not a plain block of numbers."""
    # A nested tensor has no shape to show, so it comes first.
    kinds = {
        "nested": (x.is_nested, f"give a padded tensor: {what}.to_padded_tensor(0.0)"),
        "sparse": (not x.is_nested and x.layout is not torch.strided, f"give {what}.to_dense()"),
        "quantised": (x.is_quantized, f"give {what}.dequantize()"),
        "on the meta device": (values and x.is_meta, "it has no values. Give one that has, or use tk.rehearse"),
    }
    for kind, (holds, remedy) in kinds.items():
        if holds:
            raise PlanError(f"{what} is {kind}, and a call takes a plain tensor: {remedy}.")


def _takes(vae: Any, dtype: torch.dtype, call: ModelCall) -> bool:
    """Whether the model's own call computes an input of a dtype, and computes it right."""
    weights = _weight_dtypes(vae, call.direction)
    entry = entry_of(type(vae))
    rule = None if entry is None else entry.casts.get(call.direction)
    if rule is not None and all(rule(dtype, weight) for weight in weights):
        return True
    device = next(iter(vae.parameters())).device.type
    autocast = call.options.autocast or ambient_autocast(device)
    # Autocast leaves double precision alone, in weights and inputs.
    if autocast is not None and torch.float64 not in weights:
        return dtype.is_floating_point and dtype != torch.float64
    # Weights stored in eight bits are cast by hooks when they are used, to a dtype that only the hooks know.
    if any(weight.itemsize == 1 for weight in weights) or not weights:
        return dtype.is_floating_point and dtype.itemsize > 1
    return dtype in weights


def _weight_dtypes(vae: Any, direction: Direction) -> set[torch.dtype]:
    """The floating-point dtypes of the weights that a call may use: all but those of the other half."""
    other = getattr(vae, "encoder" if direction == Direction.DECODE else "decoder", None)
    unused = {id(weight) for weight in other.parameters()} if isinstance(other, nn.Module) else set()
    used = [weight for weight in vae.parameters() if id(weight) not in unused]
    return {weight.dtype for weight in used or vae.parameters() if weight.dtype.is_floating_point}


def _channels(vae: Autoencoder, direction: Direction, *, patch: str | None) -> int | None:
    """The channels of a call's input; None if the model does not state them."""
    if direction == Direction.DECODE:
        latent = stated(vae, "latent_channels", "z_dim", "z_channels")
        return None if latent is None else int(latent)
    given, made = stated(vae, "in_channels", "input_channels", "encoder_in_channels"), stated(vae, "out_channels")
    # Mochi states the channels behind its Fourier features, not those of a sample.
    if given is None or (made is not None and made != given):
        return None
    side = (patch and stated(vae, patch)) or 1
    return int(given) // int(side) ** 2
