"""The whole decode and encode of Allegro, a class that can only be called in tiles.

Its modules are called in the order in which its own tiles call them, in its own layout: samples are ``b t c h w``.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor


def allegro_decode(vae: Any, latent: Tensor) -> Tensor:
    """Decode a latent ``b c t h w`` to ``b t c h w`` as one tile."""
    # Its quantisation convolutions are 2D: frames go into the batch for them, and come back out.
    latent = latent.permute(0, 2, 1, 3, 4)
    flat = vae.post_quant_conv(latent.flatten(0, 1))
    sample: Tensor = vae.decoder(flat.unflatten(0, (len(latent), -1)).permute(0, 2, 1, 3, 4))
    return sample.permute(0, 2, 1, 3, 4)


def allegro_encode(vae: Any, sample: Tensor) -> Tensor:
    """Encode a sample ``b c t h w`` to the parameters of its posterior as one tile."""
    moments = vae.encoder(sample).permute(0, 2, 1, 3, 4)
    flat = vae.quant_conv(moments.flatten(0, 1))
    parameters: Tensor = flat.unflatten(0, (len(sample), -1)).permute(0, 2, 1, 3, 4)
    return parameters
