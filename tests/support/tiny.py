"""Small autoencoders of the real classes, random weights, with tiles a few latent cells wide."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, AutoencoderKLWan


def kl(seed: int = 0) -> AutoencoderKL:
    """AutoencoderKL, 2x, GroupNorm and attention; tiles of 8 latent cells, stride 6."""
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
    )
    return vae.eval().requires_grad_(False)


def wan21(seed: int = 0) -> AutoencoderKLWan:
    """AutoencoderKLWan in its 2.1 form, 8x; tiles of 8 latent cells, stride 6."""
    torch.manual_seed(seed)
    vae = AutoencoderKLWan(base_dim=8, z_dim=4, dim_mult=[1, 1, 2, 2], num_res_blocks=1)
    return _tiles(vae, 64, 48)


def wan22(seed: int = 0) -> AutoencoderKLWan:
    """AutoencoderKLWan in its 2.2 form: patches of 2x2, residual, 16x; tiles of 4 latent cells, stride 3."""
    torch.manual_seed(seed)
    vae = AutoencoderKLWan(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 2, 2],
        num_res_blocks=1,
        is_residual=True,
        patch_size=2,
        in_channels=12,
        out_channels=12,
        scale_factor_spatial=16,
    )
    return _tiles(vae, 64, 48)


def _tiles(vae: AutoencoderKLWan, tile: int, stride: int) -> AutoencoderKLWan:
    vae.enable_tiling(tile, tile, stride, stride)
    vae.disable_tiling()
    return vae.eval().requires_grad_(False)


MODELS = {"kl": kl, "wan21": wan21, "wan22": wan22}


def latent(name: str, h: int, w: int, batch: int = 1, frames: int = 2, dtype: torch.dtype = torch.float32):
    """A latent whose brightness rises over both axes, with noise on it."""
    torch.manual_seed(h * 1000 + w)
    shape = (batch, 4, h, w) if name == "kl" else (batch, 4, frames, h, w)
    ramp = torch.linspace(-2, 2, h)[:, None] + torch.linspace(-1, 3, w)
    return (torch.randn(shape) * 0.5 + ramp).to(dtype)
