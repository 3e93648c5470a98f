"""The two small trained autoencoders, and latents to decode with them."""

from __future__ import annotations

from typing import Literal

import torch
from diffusers import AutoencoderKL, AutoencoderKLWan
from torch import Tensor

from toolkit.geometry.checks import check_choice
from toolkit.models.demo.checkpoints import WEIGHTS, load
from toolkit.models.demo.photographs import image
from toolkit.models.demo.videos import video
from toolkit.models.module_check import check_is_module


def image_vae() -> AutoencoderKL:
    """Load a small trained image model: 8 times smaller in h and w, 16 channels, GroupNorm, attention in the middle."""
    return load(AutoencoderKL, WEIGHTS / "image_vae")


def video_vae() -> AutoencoderKLWan:
    """Load a small trained video model of the Wan 2.1 form: 8 times smaller in h and w, 4 times in t, 16 channels."""
    return load(AutoencoderKLWan, WEIGHTS / "video_vae")


@torch.no_grad()
def latents(
    vae: AutoencoderKL | AutoencoderKLWan | Literal["image", "video"] = "image", sample: Tensor | None = None
) -> Tensor:
    """Make the latents of a picture or video, as ``vae.decode`` takes them.

    Args:
        vae: The model that encodes; "image" and "video" stand for ``image_vae()`` and ``video_vae()``.
        sample: A picture ``b c h w`` or video ``b c t h w`` in [-1, 1]. None: ``image()`` or ``video()``, whichever the
            model is for.

    Returns:
        The most likely latents, ``b c h w`` or ``b c t h w``, unscaled.
    """
    if isinstance(vae, str):
        check_choice("vae", vae, choices=("image", "video"))
        vae = {"image": image_vae, "video": video_vae}[vae]()
    check_is_module("vae", vae)
    if sample is None:
        sample = image() if isinstance(vae, AutoencoderKL) else video()
    return vae.encode(sample.to(vae.device, vae.dtype)).latent_dist.mode()
