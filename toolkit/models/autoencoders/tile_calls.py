"""One tile through a class's own modules, for classes whose public call does more or less than their tiling does.

Each function repeats what the class's ``tiled_decode`` or ``tiled_encode`` does with one tile, and no more, so that
tiles merge into the class's own result bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from toolkit.models.autoencoders.frames import temporal_ratio
from toolkit.models.diffusers_compat import decoder_cache, encoder_cache

_Arguments = Mapping[str, Any]
_BEYOND = 2**40
"""A size in pixels that no input exceeds."""


def wan_decode(vae: Any, latent: Tensor, arguments: _Arguments) -> Tensor:
    """Decode a tile as AutoencoderKLWan's ``tiled_decode`` does: frame by frame, not clamped, still in patches."""
    return _decode_frames(vae, latent, first_chunk=True)


def qwen_decode(vae: Any, latent: Tensor, arguments: _Arguments) -> Tensor:
    """Decode a tile as Wan's; this decoder finds out for itself which chunk is the first."""
    return _decode_frames(vae, latent, first_chunk=False)


def wan_encode(vae: Any, sample: Tensor, arguments: _Arguments) -> Tensor:
    """Encode a tile as AutoencoderKLWan's ``tiled_encode`` does: the first frame, then whole groups of frames.

    Frames beyond the last whole group are left out.
    """
    if patch := getattr(vae.config, "patch_size", None):
        sample = rearrange(sample, "b c t (h r) (w q) -> b (c q r) t h w", r=patch, q=patch)
    group = temporal_ratio(vae)
    # Each tile has a causal cache of its own: what another tile left in it would leak into this one.
    vae.clear_cache()
    parts = []
    for index in range(1 + (sample.shape[2] - 1) // group):
        # Group 0 is frame 0 alone; group n is frames 1 + (n - 1) * group up to n * group.
        frames = sample[:, :, max(0, 1 + group * (index - 1)) : 1 + group * index]
        moments = vae.encoder(frames, **encoder_cache(vae))
        # Group by group, not at the end: other shapes may take other kernels, which round differently.
        parts.append(vae.quant_conv(moments))
    vae.clear_cache()
    return torch.cat(parts, dim=2)


def vidtok_decode(vae: Any, latent: Tensor, arguments: _Arguments) -> Tensor:
    """Decode a tile as AutoencoderVidTok's ``tiled_decode`` does: chunk by chunk through time."""
    _one_tile(vae)
    sample: Tensor = vae.decode(latent, **arguments)
    return sample


def vidtok_encode(vae: Any, sample: Tensor, arguments: _Arguments) -> Tensor:
    """Encode a tile as AutoencoderVidTok's ``tiled_encode`` does: chunk by chunk through time."""
    _one_tile(vae)
    moments: Tensor = vae.encode(sample, **arguments).latent_dist.parameters
    return moments


def clamp(sample: Tensor) -> Tensor:
    """Clamp to [-1, 1] in place."""
    return sample.clamp_(-1.0, 1.0)


def _decode_frames(vae: Any, latent: Tensor, *, first_chunk: bool) -> Tensor:
    """Decode frame by frame under a cache of the tile's own; ``post_quant_conv`` sees one frame at a time."""
    vae.clear_cache()
    frames = []
    for index in range(latent.shape[2]):
        cache = decoder_cache(vae)
        frame = vae.post_quant_conv(latent[:, :, index : index + 1])
        first = {"first_chunk": index == 0} if first_chunk else {}
        frames.append(vae.decoder(frame, **cache, **first))
    vae.clear_cache()
    return torch.cat(frames, dim=2)


def _one_tile(vae: Any) -> None:
    """Have the class tile with one tile that nothing exceeds.

    Only its tiled call goes through time in chunks, so it is that call which is made, on each of our tiles. The model
    is borrowed: these attributes are restored.
    """
    vae.use_tiling = True
    for side in ("height", "width"):
        setattr(vae, f"tile_sample_min_{side}", _BEYOND)
        setattr(vae, f"tile_latent_min_{side}", _BEYOND)
        setattr(vae, f"tile_overlap_factor_{side}", 0.0)
