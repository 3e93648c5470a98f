"""The call that every mode is held against: a model's own decode or encode of the whole input, as one tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from torch import Tensor

from toolkit.errors import ModelError, PlanError
from toolkit.models.autoencoders.recipe import Direction, Recipe


@dataclass(frozen=True, slots=True)
class Call:
    """A model's own call: which one, with which further arguments, and where its random numbers come from.

    Attributes:
        direction: ``"decode"`` or ``"encode"``.
        arguments: further arguments of the model's call (LTX: ``temb``; TemporalDecoder: ``num_frames``).
        seed: seeds what the model draws during the call from the global generators, which are put back after it;
            None leaves them alone.
        autocast: the dtype of ``torch.autocast`` during the call; None: as it is where the call is made.
        recipe: how tiles of the model are computed, for a class that the toolkit has no entry for.
        norm_passes: passes over all tiles beforehand that gather the statistics of GroupNorm, so that each tile is
            normalised as a part of the whole; 0: on its own.
        rules: with exact shards, further rules for operations, by function or name.

    Raises:
        PlanError: for another direction, or a number of passes that is none.

    Example:
        >>> from toolkit.models.autoencoders.census import specimen
        >>> kl = specimen("AutoencoderKL")
        >>> with torch.no_grad():
        ...     Call("encode")(kl.build(), kl.sample(3, 4)).shape
        torch.Size([1, 8, 3, 4])
    """

    direction: Direction = "decode"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    autocast: torch.dtype | None = None
    recipe: Recipe | None = None
    norm_passes: int = 0
    rules: Mapping[Any, Callable[..., Any]] | None = None

    def __post_init__(self) -> None:
        if self.direction not in get_args(Direction):
            raise PlanError(f"direction={self.direction!r}: must be one of {', '.join(get_args(Direction))}.")
        if isinstance(self.norm_passes, bool) or not isinstance(self.norm_passes, int) or self.norm_passes < 0:
            raise PlanError(f"norm_passes={self.norm_passes!r}: must be an int of at least 0.")

    def __call__(self, vae: Any, x: Tensor) -> Tensor:
        """Decode or encode the whole of ``x`` (``b c h w`` or ``b c t h w``).

        Returns:
            The sample, or the posterior's parameters; the latent itself for classes without a posterior.
        """
        own = OWN_CALLS.get(type(vae).__name__, {}).get(self.direction)
        with self.around(x.device):
            if own is not None:
                return own(vae, x)
            method = vae.decode if self.direction == "decode" else vae.encode
            return as_tensor(method(x, **self.arguments_on(x.device)))

    @contextmanager
    def around(self, device: torch.device) -> Iterator[None]:
        """The seed and the autocast that the call is made under."""
        cast = nullcontext() if self.autocast is None else torch.autocast(device.type, self.autocast)
        with _seeded(self.seed, device), cast:
            yield

    def arguments_on(self, device: torch.device) -> dict[str, Any]:
        """The further arguments, tensors among them on ``device``."""
        return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in self.arguments.items()}


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
OWN_CALLS: Mapping[str, Mapping[str, Callable[[Any, Tensor], Tensor]]] = {
    "AutoencoderKLAllegro": {"decode": _allegro_decode, "encode": _allegro_encode},
}
