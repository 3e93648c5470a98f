"""Small trained models, and pictures and videos to try them on: everything works offline and on a CPU."""

from typing import Literal

import torch
from diffusers import AutoencoderKL, AutoencoderKLWan
from torch import Tensor

from toolkit.models.demo.checkpoints import WEIGHTS, load
from toolkit.models.demo.clips import PROMPTS
from toolkit.models.demo.demo_pipeline import call, pipeline
from toolkit.models.demo.photographs import image
from toolkit.models.demo.videos import video

__all__ = ["PROMPTS", "call", "image", "image_vae", "latents", "pipeline", "video", "video_vae"]


def image_vae() -> AutoencoderKL:
    """A small trained image model: 8 times smaller in h and w, 16 channels, GroupNorm, attention in the middle."""
    return load(AutoencoderKL, WEIGHTS / "image_vae")


def video_vae() -> AutoencoderKLWan:
    """A small trained video model of the Wan 2.1 form: 8 times smaller in h and w, 4 times in t, 16 channels."""
    return load(AutoencoderKLWan, WEIGHTS / "video_vae")


@torch.no_grad()
def latents(
    vae: AutoencoderKL | AutoencoderKLWan | Literal["image", "video"] = "image", sample: Tensor | None = None
) -> Tensor:
    """The latents of a picture or video, as `vae.decode` takes them.

    Args:
        vae: the model that encodes; "image" and "video" stand for `image_vae()` and `video_vae()`.
        sample: b c h w or b c t h w in [-1, 1]. None is `image()` or `video()`, whichever the model is for.

    Returns:
        The most likely latents, b c h w or b c t h w, unscaled.
    """
    if isinstance(vae, str):
        vae = {"image": image_vae, "video": video_vae}[vae]()
    if sample is None:
        sample = image() if isinstance(vae, AutoencoderKL) else video()
    return vae.encode(sample.to(vae.device, vae.dtype)).latent_dist.mode()
