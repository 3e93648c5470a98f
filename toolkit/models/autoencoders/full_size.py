"""Video autoencoders at real size with random weights: measuring time and memory needs no checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from toolkit.models.diffusers_compat import model_named


@dataclass(frozen=True, slots=True)
class Subject:
    """One model.

    Attributes:
        name: The name that its users know it by.
        cls: The name of its class in diffusers.
        latent: The latent of 81 frames of 720 x 1280 pixels, as ``c t h w``.
        small: The name of its specimen in the census.
        config: The arguments of its constructor at real size.
    """

    name: str
    cls: str
    latent: tuple[int, int, int, int]
    small: str
    config: Mapping[str, Any] = field(default_factory=dict)

    def build(self, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> Any:
        """Make the model on ``device``, with the weights that a new one has."""
        # Made on the device: weights of this size are not drawn on the host and copied.
        with device:
            vae = model_named(self.cls)(**self.config)
        return (vae if dtype is torch.float32 else vae.to(dtype)).eval().requires_grad_(False)

    def noise(self) -> Tensor:
        """Make a latent of noise, in bf16."""
        # Drawn on the CPU, so that every device decodes the same latent.
        return torch.randn(1, *self.latent, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)


SUBJECTS = (
    Subject("Wan 2.1", "AutoencoderKLWan", (16, 21, 90, 160), "AutoencoderKLWan_2.1"),
    Subject(
        "Wan 2.2",
        "AutoencoderKLWan",
        (48, 21, 45, 80),
        "AutoencoderKLWan_2.2",
        {
            "base_dim": 160,
            "decoder_base_dim": 256,
            "z_dim": 48,
            "is_residual": True,
            "in_channels": 12,
            "out_channels": 12,
            "patch_size": 2,
            "scale_factor_spatial": 16,
        },
    ),
    Subject("HunyuanVideo-1.5", "AutoencoderKLHunyuanVideo15", (32, 21, 45, 80), "AutoencoderKLHunyuanVideo15"),
)
