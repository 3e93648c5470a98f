"""The census: every autoencoder class of diffusers in small, with random weights that leave no norm or bias idle.

Configurations keep what decides correctness (block types, ratios, causal caches, attention, norms) and shrink channels
and depth. The parity table, the self checks and the tests use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from toolkit.errors import ModelError
from toolkit.models.diffusers_compat import model_named

DOWN, UP = "DownEncoderBlock2D", "UpDecoderBlock2D"
EFFICIENT = ["ResBlock", "ResBlock", "EfficientViTBlock"]


@dataclass(frozen=True, slots=True)
class Specimen:
    """One autoencoder in small.

    Attributes:
        name: The class's name, followed by the variant if there are several.
        cls: The class's name in diffusers.
        ratio: Sample pixels per latent cell along h and w.
        channels: Channels of latent and sample.
        frames: Frames of a short latent and of a short sample; None for images.
        config: The arguments of its constructor.
        batch: Latents per batch; more than 1 if the batch stands for time.
        call: Further arguments of its decode.
    """

    name: str
    cls: str
    ratio: int
    channels: tuple[int, int]
    frames: tuple[int, int] | None
    config: Mapping[str, Any]
    batch: int = 1
    call: Mapping[str, Any] = field(default_factory=dict)

    def build(self, seed: int = 0) -> Any:
        """Make the model in eval mode, its norms and biases moved away from one and zero."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            vae = model_named(self.cls)(**self.config)
            for name, parameter in vae.named_parameters():
                # New norms and biases are ones and zeros, and a scale of one hides a scale that is left out.
                if parameter.ndim <= 1 or "gamma" in name or parameter.numel() == len(parameter):
                    parameter.data.add_(torch.randn_like(parameter) * 0.2)
        return vae.eval().requires_grad_(False)

    def latent(self, h: int, w: int, *, frames: int | None = None, batch: int | None = None, seed: int = 0) -> Tensor:
        """Make a latent of ``h`` by ``w`` cells: noise on a slope of brightness, which norms notice."""
        return self._input(
            self.channels[0], self.frames and (frames or self.frames[0]), h=h, w=w, batch=batch, seed=seed
        )

    def sample(self, h: int, w: int, frames: int | None = None, batch: int | None = None, seed: int = 0) -> Tensor:
        """Make a sample of ``h`` by ``w`` latent cells, that is, ``ratio`` times as many pixels."""
        size = self.frames and (frames or self.frames[1])
        return (
            self._input(self.channels[1], size, h=h * self.ratio, w=w * self.ratio, batch=batch, seed=seed)
            .div_(3)
            .clamp_(-1, 1)
        )

    def _input(self, channels: int, frames: int | None, *, h: int, w: int, batch: int | None, seed: int) -> Tensor:
        shape = (batch or self.batch, channels, *([frames] if frames else []), h, w)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1000 * h + w))
        return noise * 0.5 + torch.linspace(-2, 2, h)[:, None] + torch.linspace(-1, 3, w)


def _kl(**more: Any) -> dict[str, Any]:
    return {
        "down_block_types": [DOWN] * 3,
        "up_block_types": [UP] * 3,
        "block_out_channels": [8, 8, 16],
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "latent_channels": 4,
        **more,
    }


def _ltx(**more: Any) -> dict[str, Any]:
    return {
        "block_out_channels": [8, 8, 8, 8],
        "layers_per_block": [1] * 5,
        "latent_channels": 8,
        "spatial_compression_ratio": 32,
        "temporal_compression_ratio": 8,
        **more,
    }


# What the decoders of 0.9.1 and 0.9.5 have in common.
_LTX_UP: dict[str, Any] = {
    "decoder_block_out_channels": [16, 32, 64],
    "decoder_layers_per_block": [1] * 4,
    "decoder_spatio_temporal_scaling": [True] * 3,
    "upsample_residual": [True] * 3,
    "upsample_factor": [2] * 3,
}
_TEMB = {"temb": torch.tensor([0.05])}
_MAGVIT = ["Spatial{}Block3D", *["SpatialTemporal{}Block3D"] * 2]

# Sizes are small, but large enough for each class's norms (groups of 32 in some) and down-sampling.
_ALL = [
    Specimen("AutoencoderKL", "AutoencoderKL", 4, (4, 3), None, _kl(sample_size=32)),
    # As in Flux: no convolutions around the latent, and a shift.
    Specimen("AutoencoderKL_flux", "AutoencoderKL", 4, (4, 3), None,
             _kl(sample_size=32, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1)),
    Specimen("AutoencoderKLFlux2", "AutoencoderKLFlux2", 4, (4, 3), None, _kl(sample_size=32)),
    Specimen("AutoencoderKLHunyuanImage", "AutoencoderKLHunyuanImage", 8, (4, 3), None,
             {"in_channels": 3, "out_channels": 3, "latent_channels": 4, "block_out_channels": [32, 32, 64, 64],
              "layers_per_block": 1, "spatial_compression_ratio": 8, "sample_size": 64}),
    # Pictures with alpha, as videos of one frame.
    Specimen("AutoencoderKLQwenImage21", "AutoencoderKLQwenImage21", 16, (8, 4), (1, 1),
             {"base_dim": 4, "decoder_base_dim": 6, "z_dim": 8}),
    # Convolutions only; the other form, below, has linear attention and other resampling.
    Specimen("AutoencoderDC", "AutoencoderDC", 4, (4, 3), None,
             {"latent_channels": 4, "attention_head_dim": 8,
              **{f"{side}_block_out_channels": [8, 8, 16] for side in ("encoder", "decoder")},
              **{f"{side}_layers_per_block": [1, 1, 1] for side in ("encoder", "decoder")},
              **{f"{side}_block_types": "ResBlock" for side in ("encoder", "decoder")},
              **{f"{side}_qkv_multiscales": [[], [], []] for side in ("encoder", "decoder")}}),
    Specimen("AutoencoderDC_sana", "AutoencoderDC", 4, (4, 3), None,
             {"latent_channels": 4, "attention_head_dim": 8,
              **{f"{side}_block_out_channels": [8, 8, 16] for side in ("encoder", "decoder")},
              **{f"{side}_layers_per_block": [1, 1, 1] for side in ("encoder", "decoder")},
              **{f"{side}_block_types": EFFICIENT for side in ("encoder", "decoder")},
              **{f"{side}_qkv_multiscales": [[], [], [5]] for side in ("encoder", "decoder")},
              "downsample_block_type": "conv", "upsample_block_type": "interpolate"}),
    Specimen("AutoencoderTiny", "AutoencoderTiny", 8, (4, 3), None,
             {"encoder_block_out_channels": [8] * 4, "decoder_block_out_channels": [8] * 4}),
    Specimen("AsymmetricAutoencoderKL", "AsymmetricAutoencoderKL", 4, (4, 3), None,
             {"down_block_types": [DOWN] * 3, "up_block_types": [UP] * 3, "norm_num_groups": 4,
              "down_block_out_channels": [8, 16, 16], "layers_per_down_block": 1,
              "up_block_out_channels": [8, 16, 16], "layers_per_up_block": 1}),
    Specimen("AutoencoderKLKVAE", "AutoencoderKLKVAE", 4, (4, 3), None,
             {"channels": 32, "ch_mult": [1, 1, 1], "z_channels": 4, "sample_size": 32}),
    Specimen("VQModel", "VQModel", 4, (4, 3), None, _kl()),
    # Norms whose scale and shift are maps, made of the latent.
    Specimen("VQModel_spatialnorm", "VQModel", 4, (4, 3), None,
             _kl(block_out_channels=[32] * 3, norm_num_groups=32, norm_type="spatial")),
    # Its decoder is a small diffusion model, with a scheduler that counts steps.
    Specimen("ConsistencyDecoderVAE", "ConsistencyDecoderVAE", 8, (4, 3), None,
             {"encoder_block_out_channels": [8] * 4, "encoder_norm_num_groups": 4, "encoder_layers_per_block": 1,
              "decoder_block_out_channels": [8] * 4, "decoder_norm_num_groups": 4, "decoder_layers_per_block": 1,
              "sample_size": 64}),
    Specimen("AutoencoderKLWan_2.1", "AutoencoderKLWan", 8, (4, 3), (2, 5),
             {"base_dim": 4, "z_dim": 4, "num_res_blocks": 1}),
    # Patches of 2 pixels as channels, and residual paths around whole levels.
    Specimen("AutoencoderKLWan_2.2", "AutoencoderKLWan", 16, (6, 3), (2, 5),
             {"base_dim": 4, "decoder_base_dim": 8, "z_dim": 6, "num_res_blocks": 1, "is_residual": True,
              "in_channels": 12, "out_channels": 12, "patch_size": 2, "scale_factor_spatial": 16}),
    Specimen("AutoencoderKLQwenImage", "AutoencoderKLQwenImage", 8, (4, 3), (2, 5),
             {"base_dim": 4, "z_dim": 4, "num_res_blocks": 1}),
    Specimen("AutoencoderKLHunyuanVideo", "AutoencoderKLHunyuanVideo", 8, (4, 3), (2, 5),
             {"block_out_channels": [8] * 4, "norm_num_groups": 4, "latent_channels": 4, "layers_per_block": 1}),
    Specimen("AutoencoderKLHunyuanVideo15", "AutoencoderKLHunyuanVideo15", 16, (4, 3), (2, 5),
             {"block_out_channels": [16] * 5, "latent_channels": 4, "layers_per_block": 1}),
    Specimen("AutoencoderKLHunyuanImageRefiner", "AutoencoderKLHunyuanImageRefiner", 16, (4, 3), (2, 2),
             {"block_out_channels": [16] * 5, "latent_channels": 4, "layers_per_block": 1}),
    Specimen("AutoencoderKLCogVideoX", "AutoencoderKLCogVideoX", 8, (4, 3), (2, 5),
             {"block_out_channels": [8] * 4, "norm_num_groups": 4, "latent_channels": 4, "layers_per_block": 1}),
    Specimen("AutoencoderKLMochi", "AutoencoderKLMochi", 8, (4, 3), (2, 7),
             {"encoder_block_out_channels": [32] * 4, "decoder_block_out_channels": [32] * 4, "latent_channels": 4,
              "layers_per_block": [1] * 5}),
    Specimen("AutoencoderKLLTXVideo_0.9.0", "AutoencoderKLLTXVideo", 32, (8, 3), (2, 9),
             _ltx(decoder_block_out_channels=[8] * 4, decoder_layers_per_block=[1] * 5)),
    # Draws noise inside its decoder, and takes a timestep.
    Specimen("AutoencoderKLLTXVideo_0.9.1", "AutoencoderKLLTXVideo", 32, (8, 3), (2, 9),
             _ltx(**_LTX_UP, decoder_inject_noise=[True, True, True, False], timestep_conditioning=True), call=_TEMB),
    # A timestep but no noise, and other down-sampling.
    Specimen("AutoencoderKLLTXVideo_0.9.5", "AutoencoderKLLTXVideo", 32, (8, 3), (2, 9),
             _ltx(**(_LTX_UP | {"block_out_channels": [8, 16, 32, 64, 128]}),
                  down_block_types=["LTXVideo095DownBlock3D"] * 4, spatio_temporal_scaling=[True] * 4,
                  decoder_inject_noise=[False] * 4, timestep_conditioning=True,
                  downsample_type=["spatial", "temporal", "spatiotemporal", "spatiotemporal"]), call=_TEMB),
    Specimen("AutoencoderKLLTX2Video", "AutoencoderKLLTX2Video", 32, (8, 3), (2, 9),
             _ltx(block_out_channels=[16, 32, 64, 128], decoder_block_out_channels=[16, 32, 64],
                  decoder_layers_per_block=[1] * 4, decoder_causal=False)),
    Specimen("AutoencoderKLCosmos", "AutoencoderKLCosmos", 8, (4, 3), (2, 9),
             {"encoder_block_out_channels": [8] * 4, "decode_block_out_channels": [8] * 4, "latent_channels": 4,
              "num_layers": 1}),
    # Resamples space first, then space and time.
    Specimen("AutoencoderKLMagvit", "AutoencoderKLMagvit", 4, (4, 3), (2, 5),
             {"block_out_channels": [8] * 3, "norm_num_groups": 4, "latent_channels": 4, "layers_per_block": 1,
              "down_block_types": [name.format("Down") for name in _MAGVIT],
              "up_block_types": [name.format("Up") for name in _MAGVIT]}),
    # Decodes to b t c h w, and only in tiles.
    Specimen("AutoencoderKLAllegro", "AutoencoderKLAllegro", 8, (4, 3), (2, 8),
             {"block_out_channels": [8] * 4, "norm_num_groups": 4, "latent_channels": 4, "layers_per_block": 1}),
    # The batch is time: three frames of one video.
    Specimen("AutoencoderKLTemporalDecoder", "AutoencoderKLTemporalDecoder", 4, (4, 3), None,
             {"down_block_types": [DOWN] * 3, "block_out_channels": [32] * 3, "layers_per_block": 1,
              "latent_channels": 4}, batch=3, call={"num_frames": 3}),
    Specimen("AutoencoderVidTok_causal", "AutoencoderVidTok", 8, (4, 3), (2, 9), {"ch": 8, "z_channels": 4}),
    # Five latent frames: batches of four, and one that is dropped.
    Specimen("AutoencoderVidTok_noncausal", "AutoencoderVidTok", 8, (4, 3), (5, 8),
             {"ch": 8, "z_channels": 4, "is_causal": False}),
    Specimen("AutoencoderKLKVAEVideo", "AutoencoderKLKVAEVideo", 8, (4, 3), (2, 5),
             {"ch": 32, "ch_mult": [1, 1, 1, 1], "z_channels": 4, "num_res_blocks": 1}),
    # A convolutional encoder, and a vision transformer as the decoder.
    Specimen("AutoencoderKLMiniMaxH3", "AutoencoderKLMiniMaxH3", 16, (4, 3), (3, 5),
             {"latent_channels": 4, "block_out_channels": [8] * 6, "norm_num_groups": 4, "decoder_num_layers": 2,
              "decoder_num_attention_heads": 2, "decoder_attention_head_dim": 16, "latents_mean": [0.0] * 4,
              "latents_std": [1.0] * 4}),
    Specimen("Kandinsky6SRVAE", "Kandinsky6SRVAE", 16, (4, 3), (2, 5),
             {"latent_channels": 4, "encoder_block_out_channels": [4, 8, 8, 8, 8],
              "decoder_block_out_channels": [4, 8, 8, 8, 8]}),
]  # fmt: skip

CENSUS: Mapping[str, Specimen] = {specimen.name: specimen for specimen in _ALL}


def specimen(name: str) -> Specimen:
    """Return the specimen of that name.

    Raises:
        ModelError: If the census has none.

    Example:
        >>> specimen("AutoencoderKLWan_2.2").ratio
        16
    """
    if name not in CENSUS:
        raise ModelError(f"{name!r} is not in the census: use one of {', '.join(CENSUS)}.")
    return CENSUS[name]
