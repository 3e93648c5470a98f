"""Training a causal video autoencoder on single frames at the cost of an image autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from einops import rearrange
from torch import Tensor

from toolkit.models.diffusers_compat import causal_padding, wan_layers


@contextmanager
def flat(vae: AutoencoderKLWan) -> Iterator[None]:
    """Turn every causal convolution of a model into a 2D one with its last temporal tap, for the length of a context.

    For a single frame that is the same function: the earlier taps only ever see the zeros before the video.
    """
    layers = [layer for layer in vae.modules() if isinstance(layer, wan_layers().WanCausalConv3d)]
    for layer in layers:
        layer.forward = _last_tap(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _last_tap(layer: Any) -> Callable[..., Tensor]:
    across, _, down, _, _, _ = causal_padding(layer)

    def forward(x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        frames = rearrange(x, "b c t h w -> (b t) c h w")
        seen = F.conv2d(frames, layer.weight[:, :, -1], layer.bias, layer.stride[1:], (down, across))
        return rearrange(seen, "(b t) c h w -> b c t h w", b=x.shape[0])

    return forward
