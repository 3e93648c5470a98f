"""What a model says about itself."""

from __future__ import annotations

from typing import Any


def stated(vae: Any, *names: str) -> Any:
    """Return the value under the first of several names that a model has as an attribute or in its config.

    diffusers' models fall back to the config when an attribute is missing, with a warning. So the attribute is only
    asked for when the model has it, and the config otherwise.

    Args:
        vae: The model.
        *names: Names to try, in this order.

    Returns:
        The value; None if the model states none of them.

    Example:
        >>> from toolkit.models.autoencoders.census import specimen
        >>> stated(specimen("AutoencoderKLWan_2.1").build(), "latent_channels", "z_dim")
        4
    """
    for name in names:
        own = name in vars(vae) or hasattr(type(vae), name)
        value = getattr(vae if own else getattr(vae, "config", None), name, None)
        if value is not None:
            return value
    return None
