"""The call that every mode is held against: a model's own decode or encode of the whole input, as one tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from toolkit.errors import ModelError, PlanError

Direction = Literal["decode", "encode"]


def whole(vae: Any, x: Tensor, direction: Direction = "decode", call: Mapping[str, Any] | None = None) -> Tensor:
    """Decode or encode ``x`` by the model's own call.

    Args:
        vae: a diffusers autoencoder.
        x: a latent or a sample, ``b c h w`` or ``b c t h w``.
        direction: ``"decode"`` or ``"encode"``.
        call: further arguments of the model's own call (LTX: ``temb``; TemporalDecoder: ``num_frames``).

    Returns:
        What the call returns as its tensor: the sample, or the posterior's parameters; the latent itself for classes
        without a posterior.

    Raises:
        PlanError: for another direction.

    Example:
        >>> from toolkit.models.census import specimen
        >>> kl = specimen("AutoencoderKL")
        >>> vae = kl.build()
        >>> with torch.no_grad():
        ...     whole(vae, kl.sample(3, 4), "encode").shape
        torch.Size([1, 8, 3, 4])
    """
    if direction not in get_args(Direction):
        raise PlanError(f"direction={direction!r}: must be one of {', '.join(get_args(Direction))}.")
    own = OWN_CALLS.get(type(vae).__name__, {}).get(direction)
    if own is not None:
        return own(vae, x)
    method = vae.decode if direction == "decode" else vae.encode
    return as_tensor(method(x, **(call or {})))


def as_tensor(output: Any) -> Tensor:
    """The tensor that a decode or encode returned, out of whatever it is wrapped in.

    Raises:
        ModelError: where there is none.
    """
    if isinstance(output, Tensor):
        return output
    for name in ("sample", "latent", "latents"):
        if isinstance(getattr(output, name, None), Tensor):
            tensor: Tensor = getattr(output, name)
            return tensor
    posterior = getattr(output, "latent_dist", None)
    if posterior is not None and isinstance(getattr(posterior, "parameters", None), Tensor):
        parameters: Tensor = posterior.parameters
        return parameters
    if isinstance(output, tuple) and output:
        return as_tensor(output[0])
    if isinstance(getattr(output, "parameters", None), Tensor):
        inner: Tensor = output.parameters
        return inner
    raise ModelError(f"a model's call returned {type(output).__name__}, in which no tensor, posterior or latent is.")


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Let everything that the model draws from the global generators come from ``seed``, and put them back after.

    None leaves them alone.
    """
    if seed is None:
        yield
        return
    index = device.index if device.index is not None else 0
    devices = [] if device.type == "cpu" else [index]
    scope = torch.random.fork_rng(devices, device_type=device.type) if devices else torch.random.fork_rng([])
    with scope if seed is not None else nullcontext():
        torch.manual_seed(seed)
        yield


def _allegro_decode(vae: Any, latent: Tensor) -> Tensor:
    latent = latent.permute(0, 2, 1, 3, 4)
    flat = vae.post_quant_conv(latent.flatten(0, 1))
    sample: Tensor = vae.decoder(flat.unflatten(0, (len(latent), -1)).permute(0, 2, 1, 3, 4))
    return sample.permute(0, 2, 1, 3, 4)


def _allegro_encode(vae: Any, sample: Tensor) -> Tensor:
    moments = vae.encoder(sample).permute(0, 2, 1, 3, 4)
    flat = vae.quant_conv(moments.flatten(0, 1))
    parameters: Tensor = flat.unflatten(0, (len(sample), -1)).permute(0, 2, 1, 3, 4)
    return parameters


# Allegro has no untiled call; what its tiles do is done to the whole, in its own layout: samples are b t c h w.
OWN_CALLS: Mapping[str, Mapping[str, Callable[[Any, Tensor], Tensor]]] = {
    "AutoencoderKLAllegro": {"decode": _allegro_decode, "encode": _allegro_encode},
}
