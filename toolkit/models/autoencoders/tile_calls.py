"""One tile through a class's own modules, where its public call does more or less than its tiling does with a tile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from toolkit.models.autoencoders.frames import temporal_ratio

_Arguments = Mapping[str, Any]
_BEYOND = 2**40


def wan_decode(vae: Any, latent: Tensor, arguments: _Arguments) -> Tensor:
    """As AutoencoderKLWan's ``tiled_decode`` makes a tile: frame by frame, unclamped, still in patches."""
    return _decode_frames(vae, latent, first_chunk=True)


def qwen_decode(vae: Any, latent: Tensor, arguments: _Arguments) -> Tensor:
    """As Wan's; its decoder finds the first chunk out for itself."""
    return _decode_frames(vae, latent, first_chunk=False)


def wan_encode(vae: Any, sample: Tensor, arguments: _Arguments) -> Tensor:
    """As AutoencoderKLWan's ``tiled_encode`` makes a tile: the first frame, then groups; frames of no group are left.

    Each tile has a causal cache of its own, and ``quant_conv`` sees one group at a time.
    """
    if patch := getattr(vae.config, "patch_size", None):
        sample = rearrange(sample, "b c t (h r) (w q) -> b (c q r) t h w", r=patch, q=patch)
    group = temporal_ratio(vae)
    vae.clear_cache()
    parts = []
    for index in range(1 + (sample.shape[2] - 1) // group):
        vae._enc_conv_idx = [0]
        frames = sample[:, :, max(0, 1 + group * (index - 1)) : 1 + group * index]
        moments = vae.encoder(frames, feat_cache=vae._enc_feat_map, feat_idx=vae._enc_conv_idx)
        parts.append(vae.quant_conv(moments))
    vae.clear_cache()
    return torch.cat(parts, dim=2)


def vidtok_decode(vae: Any, latent: Tensor, arguments: _Arguments) -> Tensor:
    """As AutoencoderVidTok's ``tiled_decode`` makes a tile: chunk by chunk through time."""
    _one_tile(vae)
    sample: Tensor = vae.decode(latent, **arguments)
    return sample


def vidtok_encode(vae: Any, sample: Tensor, arguments: _Arguments) -> Tensor:
    """As AutoencoderVidTok's ``tiled_encode`` makes a tile: chunk by chunk through time."""
    _one_tile(vae)
    moments: Tensor = vae.encode(sample, **arguments).latent_dist.parameters
    return moments


def clamp(sample: Tensor) -> Tensor:
    """Clamp to [-1, 1] in place."""
    return sample.clamp_(-1.0, 1.0)


def _decode_frames(vae: Any, latent: Tensor, first_chunk: bool) -> Tensor:
    """Each tile has a causal cache of its own, and ``post_quant_conv`` sees one frame at a time."""
    vae.clear_cache()
    frames = []
    for index in range(latent.shape[2]):
        vae._conv_idx = [0]
        frame = vae.post_quant_conv(latent[:, :, index : index + 1])
        first = {"first_chunk": index == 0} if first_chunk else {}
        frames.append(vae.decoder(frame, feat_cache=vae._feat_map, feat_idx=vae._conv_idx, **first))
    vae.clear_cache()
    return torch.cat(frames, dim=2)


def _one_tile(vae: Any) -> None:
    """Have the class tile with a tile that nothing exceeds."""
    vae.use_tiling = True
    for side in ("height", "width"):
        setattr(vae, f"tile_sample_min_{side}", _BEYOND)
        setattr(vae, f"tile_latent_min_{side}", _BEYOND)
        setattr(vae, f"tile_overlap_factor_{side}", 0.0)
