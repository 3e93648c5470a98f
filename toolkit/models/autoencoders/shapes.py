"""What a model's call returns for what goes in, read from its attributes: nothing runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from toolkit.errors import ModelError, PlanError
from toolkit.models.autoencoders.direction import Direction, DirectionName
from toolkit.models.autoencoders.model_call import ModelCall, ambient_autocast
from toolkit.models.autoencoders.recipe import Recipe
from toolkit.models.autoencoders.stated import stated
from toolkit.models.autoencoders.tiling import spatial_ratio
from toolkit.models.protocols import Autoencoder


def output_shape(
    vae: Autoencoder, recipe: Recipe, *, direction: DirectionName, shape: Sequence[int]
) -> tuple[int, ...]:
    """Return the shape of the output, ``b c h w`` or ``b c t h w``, for an input of ``shape``.

    Args:
        vae: The model.
        recipe: How its tiles are computed, which says whether there are frames and in which dim.
        direction: Which of its calls.
        shape: Shape of the latent to decode, or of the sample to encode.

    Raises:
        PlanError: If the input does not have the model's layout, or a sample is not a whole number of latent cells.

    Example:
        >>> from toolkit.models.autoencoders.census import specimen
        >>> from toolkit.models.autoencoders.autoencoder_table import recipe_of
        >>> wan = specimen("AutoencoderKLWan_2.2").build()
        >>> output_shape(wan, recipe_of(wan), direction="encode", shape=(1, 3, 9, 64, 96))
        (1, 12, 3, 4, 6)
    """
    layout = "b c t h w" if recipe.frames else "b c h w"
    if len(shape) != len(layout.split()):
        raise PlanError(f"{direction} of shape {tuple(shape)}: {type(vae).__name__} {direction}s {layout}.")
    batch, _, *time, h, w = shape
    ratio = spatial_ratio(vae)
    if direction == Direction.DECODE:
        h, w = h * ratio, w * ratio
    elif h % ratio or w % ratio:
        raise PlanError(
            f"a sample of {h} x {w} pixels: {type(vae).__name__} has {ratio} pixels per latent cell, so both must be "
            f"multiples of {ratio}. Crop or pad the sample."
        )
    else:
        h, w = h // ratio, w // ratio
    frames = [recipe.frames(vae, direction, count) for count in time] if recipe.frames else []
    channels = _channels(vae, recipe, direction=direction)
    if recipe.time_first and direction == Direction.DECODE:
        return (batch, *frames, channels, h, w)
    return (batch, channels, *frames, h, w)


def patch_side(vae: Autoencoder, recipe: Recipe, *, direction: DirectionName) -> int:
    """Return the side of the patches that raw tiles hold as channels: 1 for most models, and for what encode gives."""
    return (recipe.patch and direction == Direction.DECODE and getattr(vae.config, recipe.patch)) or 1


def output_dtype(vae: Autoencoder, recipe: Recipe, *, call: ModelCall) -> torch.dtype:
    """Return the dtype of the output: the weights', or autocast's while that is on."""
    # Where dtypes are mixed, the last layer's comes out.
    *_, weight = _weights(vae, call.direction)
    cast = call.options.autocast or ambient_autocast(weight.device.type) or weight.dtype
    # After a last operation that autocast leaves alone, the wider of the two dtypes comes out.
    return torch.promote_types(cast, weight.dtype) if call.direction in recipe.uncast else cast


def first_weight(vae: Autoencoder, direction: DirectionName) -> Tensor:
    """Return a weight of the half of the model that a direction uses.

    Halves can differ in dtype and device: people keep only the decoder on an accelerator.
    """
    return next(_weights(vae, direction))


def _weights(vae: Autoencoder, direction: DirectionName) -> Iterator[Tensor]:
    half = getattr(vae, f"{direction}r", None)
    return half.parameters() if isinstance(half, torch.nn.Module) else vae.parameters()


def _channels(vae: Autoencoder, recipe: Recipe, *, direction: DirectionName) -> int:
    if direction == Direction.ENCODE:
        latent = stated(vae, "latent_channels", "z_dim", "z_channels")
        if latent is None:
            raise ModelError(
                f"{type(vae).__name__} has no config.latent_channels, z_dim or z_channels: the channels of its "
                "latents cannot be read. Use plan=None for the model's own call."
            )
        return recipe.moments * int(latent)
    # Classes that state no number of channels make RGB.
    return (
        int(stated(vae, "out_channels", "out_ch", "in_channels") or 3)
        // patch_side(vae, recipe, direction=direction) ** 2
    )
