"""Train a causal video autoencoder on single frames at the price of an image autoencoder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from einops import rearrange
from torch import Tensor


@contextmanager
def flat(vae: AutoencoderKLWan) -> Iterator[None]:
    """Within, every causal convolution of `vae` is a 2D one with its last temporal tap, frame by frame.

    For a single frame that is the same function: the earlier taps only ever see the zeros before the video.
    """
    layers = [layer for layer in vae.modules() if isinstance(layer, WanCausalConv3d)]
    for layer in layers:
        layer.forward = _last_tap(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _last_tap(layer: WanCausalConv3d) -> Callable[..., Tensor]:
    across, _, down, _, _, _ = layer._padding

    def forward(x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        frames = rearrange(x, "b c t h w -> (b t) c h w")
        seen = F.conv2d(frames, layer.weight[:, :, -1], layer.bias, layer.stride[1:], (down, across))
        return rearrange(seen, "(b t) c h w -> b c t h w", b=x.shape[0])

    return forward
