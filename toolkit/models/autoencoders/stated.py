"""What a model says of itself."""

from __future__ import annotations

from typing import Any


def stated(vae: Any, *names: str) -> Any:
    """The value under the first of several names that a model states, as an attribute or in its config; None if none.

    A diffusers model looks an attribute that it has not up in its config, and warns: so it is not asked.

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
