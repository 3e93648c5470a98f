"""Video transformers in small. Configurations keep what decides correctness and shrink width and depth.

The functions make the arguments of a call; at scale ``s``, latents are ``s`` times as high and wide.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import ones, randn, tensor

from toolkit.models.transformers.transformer_specimen import TransformerSpecimen as Specimen

_HEADS: dict[str, Any] = {"num_attention_heads": 4, "attention_head_dim": 16}
_CHANNELS: dict[str, Any] = {"in_channels": 4, "out_channels": 4}
_WAN: dict[str, Any] = {
    **_HEADS, **_CHANNELS, "patch_size": (1, 2, 2), "text_dim": 16, "freq_dim": 32, "ffn_dim": 64, "num_layers": 4,
    "rope_max_seq_len": 32,
}  # fmt: skip
_HUNYUAN: dict[str, Any] = {
    **_HEADS, "num_refiner_layers": 1, "patch_size": 2, "patch_size_t": 1, "text_embed_dim": 16, "rope_axes_dim":
    (4, 6, 6), **_CHANNELS, "pooled_projection_dim": 8, "guidance_embeds": True, "num_layers": 2,
    "num_single_layers": 3,
}  # fmt: skip


def _wan(s: int) -> dict[str, Any]:
    return {
        "hidden_states": randn(1, 4, 2, 8 * s, 8 * s),
        "timestep": tensor([500]),
        "encoder_hidden_states": randn(1, 12, 16),
    }


def _wan_2_2(s: int) -> dict[str, Any]:
    # One timestep per token: the first frame of an image-to-video call is free of noise.
    return _wan(s) | {"timestep": torch.full((1, 2 * 16 * s * s), 500.0)}


def _vace(s: int) -> dict[str, Any]:
    # Hints for the layers are made of a second set of latents.
    return _wan(s) | {"control_hidden_states": randn(1, 8, 2, 8 * s, 8 * s)}


def _hunyuan(s: int) -> dict[str, Any]:
    return _wan(s) | {
        "encoder_attention_mask": ones(1, 12),
        "pooled_projections": randn(1, 8),
        "guidance": tensor([6.0]),
    }


def _hunyuan_1_5(s: int) -> dict[str, Any]:
    return {
        "hidden_states": randn(1, 9, 2, 6 * s, 6 * s),
        "timestep": tensor([500.0]),
        "encoder_hidden_states": randn(1, 10, 16),
        # Three texts with padding: the class puts the valid tokens of all of them first.
        "encoder_attention_mask": (torch.arange(10) < 7).float()[None],
        "encoder_hidden_states_2": randn(1, 6, 8),
        "encoder_attention_mask_2": (torch.arange(6) < 3).float()[None],
        # Zeros stand for "no image" here.
        "image_embeds": torch.zeros(1, 3, 12),
    }


def _cogvideox(s: int) -> dict[str, Any]:
    # Rotary tables are an argument here; other classes compute them.
    cells = 2 * 4 * s * 4 * s
    return {
        "hidden_states": randn(1, 2, 4, 8 * s, 8 * s),
        "encoder_hidden_states": randn(1, 8, 8),
        "timestep": tensor([500]),
        "image_rotary_emb": (randn(cells, 16), randn(cells, 16)),
    }


def _ltx(s: int) -> dict[str, Any]:
    # Latents come as tokens, so frames, height and width are given beside them.
    return {
        "hidden_states": randn(1, 2 * 16 * s * s, 4),
        "encoder_hidden_states": randn(1, 8, 16),
        "timestep": torch.full((1, 1), 500.0),
        "encoder_attention_mask": ones(1, 8),
        "num_frames": 2,
        "height": 4 * s,
        "width": 4 * s,
    }


def _ltx2(s: int) -> dict[str, Any]:
    # Two streams of tokens: every layer returns a pair, and a payload is one too.
    return _ltx(s) | {
        "audio_hidden_states": randn(1, 6, 4),
        "audio_encoder_hidden_states": randn(1, 8, 16),
        "audio_encoder_attention_mask": ones(1, 8),
        "audio_num_frames": 6,
    }


def _mochi(s: int) -> dict[str, Any]:
    return {
        "hidden_states": randn(1, 4, 2, 8 * s, 8 * s),
        "encoder_hidden_states": randn(1, 16, 16),
        "timestep": tensor([500]),
        "encoder_attention_mask": ones(1, 16).bool(),
    }


def _framepack(s: int) -> dict[str, Any]:
    # Earlier frames at three resolutions go before the latents as further tokens.
    return _hunyuan(s) | {
        "image_embeds": randn(1, 3, 16),
        "indices_latents": tensor([3, 4]),
        "latents_clean": randn(1, 4, 1, 8 * s, 8 * s),
        "indices_latents_clean": tensor([0]),
        "latents_history_2x": randn(1, 4, 2, 8 * s, 8 * s),
        "indices_latents_history_2x": tensor([1, 2]),
        "latents_history_4x": randn(1, 4, 4, 8 * s, 8 * s),
        "indices_latents_history_4x": tensor([5, 6, 7, 8]),
    }


def _kandinsky5(s: int) -> dict[str, Any]:
    return {
        "hidden_states": randn(1, 2, 8 * s, 8 * s, 4),
        "encoder_hidden_states": randn(1, 6, 16),
        "timestep": tensor([500.0]),
        "pooled_projections": randn(1, 8),
        # Channels come last here.
        "visual_rope_pos": [torch.arange(2), torch.arange(4 * s), torch.arange(4 * s)],
        "text_rope_pos": torch.arange(6),
    }


def _short_text(s: int) -> dict[str, Any]:
    return _wan(s) | {"encoder_hidden_states": randn(1, 8, 16)}


def _allegro(s: int) -> dict[str, Any]:
    # Its mask is of latent cells, not of tokens.
    return _wan(s) | {
        "encoder_hidden_states": randn(1, 1, 8, 16),
        "attention_mask": ones(1, 2, 8 * s, 8 * s),
        "encoder_attention_mask": ones(1, 8),
    }


_ONE = ("num_layers",)
_TWO = ("num_layers", "num_single_layers")

VIDEO_TRANSFORMERS = (
    # Norms over all heads, as in every released Wan; the table says what that means for tensor parallelism.
    Specimen("Wan", "WanTransformer3DModel", _ONE,
             {**_WAN, "cross_attn_norm": True, "qk_norm": "rms_norm_across_heads"}, _wan),
    Specimen("Wan_2.2_5B", "WanTransformer3DModel", _ONE, _WAN, _wan_2_2),
    # Hints are added after layers 0 and 2.
    Specimen("WanVACE", "WanVACETransformer3DModel", _ONE,
             {**_WAN, "vace_layers": [0, 2], "vace_in_channels": 8}, _vace),
    Specimen("SkyReelsV2", "SkyReelsV2Transformer3DModel", _ONE, _WAN, _wan),
    Specimen("HunyuanVideo", "HunyuanVideoTransformer3DModel", _TWO, _HUNYUAN, _hunyuan),
    # 9 channels in: 4 of the latent, 4 of a first frame, 1 of its mask.
    Specimen("HunyuanVideo15", "HunyuanVideo15Transformer3DModel", _ONE,
             {**_HEADS, "in_channels": 9, "out_channels": 4, "num_layers": 4, "num_refiner_layers": 1,
              "mlp_ratio": 2.0, "patch_size": 1, "patch_size_t": 1, "text_embed_dim": 16, "text_embed_2_dim": 8,
              "image_embed_dim": 12, "rope_axes_dim": (4, 6, 6), "target_size": 16}, _hunyuan_1_5),
    Specimen("CogVideoX", "CogVideoXTransformer3DModel", _ONE,
             {**_HEADS, **_CHANNELS, "time_embed_dim": 8, "text_embed_dim": 8, "num_layers": 4, "sample_width": 8,
              "sample_height": 8, "sample_frames": 8, "patch_size": 2, "temporal_compression_ratio": 4,
              "max_text_seq_length": 8, "use_rotary_positional_embeddings": True}, _cogvideox),
    Specimen("LTX", "LTXVideoTransformer3DModel", _ONE,
             {**_HEADS, **_CHANNELS, "cross_attention_dim": 64, "num_layers": 4, "caption_channels": 16}, _ltx),
    Specimen("LTX2", "LTX2VideoTransformer3DModel", _ONE,
             {**_HEADS, **_CHANNELS, "cross_attention_dim": 64, "audio_in_channels": 4, "audio_out_channels": 4,
              "audio_num_attention_heads": 4, "audio_attention_head_dim": 8, "audio_cross_attention_dim": 32,
              "num_layers": 4, "caption_channels": 16, "rope_double_precision": False}, _ltx2),
    Specimen("Mochi", "MochiTransformer3DModel", _ONE,
             {"patch_size": 2, "num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 4,
              "pooled_projection_dim": 16, "in_channels": 4, "text_embed_dim": 16, "time_embed_dim": 4,
              "activation_fn": "swiglu", "max_sequence_length": 16}, _mochi),
    Specimen("ChronoEdit", "ChronoEditTransformer3DModel", _ONE, {**_WAN, "rope_temporal_skip_len": 2}, _wan),
    Specimen("HunyuanVideoFramepack", "HunyuanVideoFramepackTransformer3DModel", _TWO,
             {**_HUNYUAN, "has_image_proj": True, "image_proj_dim": 16, "has_clean_x_embedder": True}, _framepack),
    # num_text_blocks is a prologue, so depth counts the visual blocks only.
    Specimen("Kandinsky5", "Kandinsky5Transformer3DModel", ("num_visual_blocks",),
             {"in_visual_dim": 4, "in_text_dim": 16, "in_text_dim2": 8, "time_dim": 16, "out_visual_dim": 4,
              "model_dim": 32, "ff_dim": 48, "num_text_blocks": 1, "num_visual_blocks": 4, "axes_dims": (4, 6, 6)},
             _kandinsky5),
    Specimen("Allegro", "AllegroTransformer3DModel", _ONE,
             {**_CHANNELS, "num_attention_heads": 2, "attention_head_dim": 24, "num_layers": 4,
              "cross_attention_dim": 48, "sample_height": 8, "sample_width": 8, "sample_frames": 2,
              "caption_channels": 16}, _allegro),
    # A layer here is a pair of blocks, spatial and temporal, so two layers make four.
    Specimen("Latte", "LatteTransformer3DModel", _ONE,
             {**_HEADS, "in_channels": 4, "out_channels": 8, "num_layers": 2, "cross_attention_dim": 64,
              "sample_size": 8, "patch_size": 2, "caption_channels": 16, "norm_type": "ada_norm_single",
              "num_embeds_ada_norm": 1000, "activation_fn": "gelu-approximate", "norm_elementwise_affine": False,
              "attention_bias": True, "video_length": 2}, _short_text),
    # The first two of four layers keep weights of their own for text, the others share them.
    Specimen("EasyAnimate", "EasyAnimateTransformer3DModel", _ONE,
             {**_HEADS, **_CHANNELS, "patch_size": 2, "num_layers": 4, "mmdit_layers": 2, "time_embed_dim": 8,
              "text_embed_dim": 16, "sample_width": 8, "sample_height": 8}, _short_text),
    Specimen("SanaVideo", "SanaVideoTransformer3DModel", _ONE,
             {**_CHANNELS, "num_attention_heads": 2, "attention_head_dim": 12, "num_layers": 4,
              "num_cross_attention_heads": 2, "cross_attention_head_dim": 12, "cross_attention_dim": 24,
              "caption_channels": 16, "rope_max_seq_len": 32}, _wan),
)  # fmt: skip
