"""A model's own decode or encode of a whole input, as one tensor: the reference for every other mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from toolkit.errors import ModelError, PlanError
from toolkit.models.autoencoders.autoencoder_table import entry_of
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.options import Options
from toolkit.models.protocols import Autoencoder


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

    def __call__(self, vae: Autoencoder, x: Tensor) -> Tensor:
        """Decode or encode the whole of ``x`` (``b c h w`` or ``b c t h w``).

        Returns:
            The sample, or the posterior's parameters (the latent itself for classes without a posterior).
        """
        entry = entry_of(type(vae))
        own = None if entry is None else entry.own_calls.get(self.direction)
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
    """Return the dtype of the ``torch.autocast`` that is on for a type of device; None if it is off.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     ambient_autocast("cpu")
        torch.bfloat16
    """
    if device_type == "meta":
        # It has no autocast, and torch raises when it is asked for it.
        return None
    return torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None


def as_tensor(output: Any) -> Tensor:
    """Unwrap the tensor that a decode or encode returned.

    Raises:
        ModelError: If there is none.
    """
    if isinstance(output, Tensor):
        return output
    # Decoders wrap a sample; encoders without a posterior wrap the latent under one of two names.
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
    # A bare posterior: its parameters are a tensor here, and a method on modules, which are never returned.
    if isinstance(getattr(output, "parameters", None), Tensor):
        inner: Tensor = output.parameters
        return inner
    raise ModelError(
        f"a model's call returned a {type(output).__name__}, which holds no sample, posterior or latent: give a Recipe "
        "whose functions return tensors."
    )


@contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Seed the global generators and restore their state afterwards; None: leave them alone."""
    if seed is None:
        yield
        return
    # fork_rng always keeps the CPU's generator; an accelerator's must be listed.
    devices = [] if device.type == "cpu" else [device.index or 0]
    options = {"device_type": device.type} if devices else {}
    with torch.random.fork_rng(devices, **options):
        torch.manual_seed(seed)
        yield
