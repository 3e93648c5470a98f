"""A model's own decode or encode of a whole input, as one tensor: the reference for every other mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from toolkit.errors import ModelError, PlanError
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.options import Options


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A model's own decode or encode of a whole input: the reference that every other way of computing it must meet.

    Attributes:
        direction: Which of the model's calls: ``"decode"`` or ``"encode"``.
        options: How it is called.

    Raises:
        PlanError: If the direction is neither of the two.

    Example:
        >>> from toolkit.models.autoencoders.census import specimen
        >>> kl = specimen("AutoencoderKL")
        >>> with torch.no_grad():
        ...     ModelCall("encode")(kl.build(), kl.sample(3, 4)).shape
        torch.Size([1, 8, 3, 4])
    """

    direction: Direction = Direction.DECODE
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        object.__setattr__(self, "direction", Direction.of(self.direction))
        if not isinstance(self.options, Options):
            raise PlanError(f"options={self.options!r}: must be a tk.Options.")

    def __call__(self, vae: Any, x: Tensor) -> Tensor:
        """Decode or encode the whole of ``x`` (``b c h w`` or ``b c t h w``).

        Returns:
            The sample, or the posterior's parameters (the latent itself for classes without a posterior).
        """
        own = OWN_CALLS.get(type(vae).__name__, {}).get(self.direction)
        with self.around(x.device):
            if own is not None:
                return own(vae, x)
            method = vae.decode if self.direction == Direction.DECODE else vae.encode
            return as_tensor(method(x, **self.arguments_on(x.device)))

    @contextmanager
    def around(self, device: torch.device) -> Iterator[None]:
        """Apply the seed and the autocast of the options for the length of a call."""
        cast = nullcontext() if self.options.autocast is None else torch.autocast(device.type, self.options.autocast)
        with _seeded(self.options.seed, device), cast:
            yield

    def arguments_on(self, device: torch.device) -> dict[str, Any]:
        """Return the further arguments of the call, with their tensors moved to ``device``."""
        given = self.options.arguments
        return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in given.items()}


def ambient_autocast(device_type: str) -> torch.dtype | None:
    """The dtype of the ``torch.autocast`` that is on for a type of device; None where it is off.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     ambient_autocast("cpu")
        torch.bfloat16
    """
    return torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None


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
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    if seed is None:
        yield
        return
    devices = [] if device.type == "cpu" else [device.index or 0]
    options = {"device_type": device.type} if devices else {}
    with torch.random.fork_rng(devices, **options):
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
OWN_CALLS: Mapping[str, Mapping[Direction, Callable[[Any, Tensor], Tensor]]] = {
    "AutoencoderKLAllegro": {Direction.DECODE: _allegro_decode, Direction.ENCODE: _allegro_encode},
}
