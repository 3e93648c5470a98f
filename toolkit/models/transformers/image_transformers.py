"""Image transformers in small. Configurations keep what decides correctness and shrink width and depth.

The functions make the arguments of a call; at scale ``s``, latents are ``s`` times as high and wide.
"""

from __future__ import annotations

from typing import Any

from torch import ones, randn, tensor, zeros

from toolkit.models.transformers.transformer_specimen import TransformerSpecimen as Specimen

_HEADS: dict[str, Any] = {"num_attention_heads": 4, "attention_head_dim": 16}
_CHANNELS: dict[str, Any] = {"in_channels": 4, "out_channels": 4}
_FLUX: dict[str, Any] = {
    **_HEADS, "patch_size": 1, "in_channels": 4, "num_layers": 2, "num_single_layers": 3, "joint_attention_dim": 32,
}  # fmt: skip


def _chroma(s: int, axes: int = 3) -> dict[str, Any]:
    # Latents come as tokens, with a position along each of some axes.
    return {
        "hidden_states": randn(1, 16 * s * s, 4),
        "encoder_hidden_states": randn(1, 8, 32),
        "timestep": tensor([0.5]),
        "img_ids": randn(16 * s * s, axes),
        "txt_ids": randn(8, axes),
    }


def _flux(s: int) -> dict[str, Any]:
    return _chroma(s) | {"pooled_projections": randn(1, 32), "guidance": tensor([3.5])}


def _flux2(s: int) -> dict[str, Any]:
    return _chroma(s, axes=4) | {"guidance": tensor([3.5])}


def _qwen(s: int) -> dict[str, Any]:
    return {
        "hidden_states": randn(1, 16 * s * s, 16),
        "encoder_hidden_states": randn(1, 7, 16),
        "encoder_hidden_states_mask": ones(1, 7),
        "timestep": tensor([0.5]),
        "img_shapes": [(1, 4 * s, 4 * s)],
    }


def _text(s: int, tokens: int = 8, *, width: int = 16) -> dict[str, Any]:
    return {
        "hidden_states": randn(1, 4, 16 * s, 16 * s),
        "encoder_hidden_states": randn(1, tokens, width),
        "timestep": tensor([500]),
    }


def _sd3(s: int) -> dict[str, Any]:
    return _text(s, tokens=9, width=32) | {"pooled_projections": randn(1, 64)}


def _pixart(s: int) -> dict[str, Any]:
    # As its pipeline passes them, though this form uses neither.
    conditions = {"resolution": None, "aspect_ratio": None}
    return _text(s) | {"added_cond_kwargs": conditions, "encoder_attention_mask": ones(1, 8)}


def _dit(s: int) -> dict[str, Any]:
    return {
        "hidden_states": randn(1, 4, 16 * s, 16 * s),
        "timestep": tensor([500]),
        "class_labels": tensor([3]),
    }


def _hunyuan_dit(s: int) -> dict[str, Any]:
    # Rotary tables are an argument here; other classes compute them.
    cells = 64 * s * s
    return _text(s, tokens=4) | {
        "timestep": tensor([500.0]),
        "text_embedding_mask": ones(1, 4),
        "encoder_hidden_states_t5": randn(1, 4, 16),
        "text_embedding_mask_t5": ones(1, 4),
        "image_meta_size": None,
        "style": None,
        "image_rotary_emb": (randn(cells, 16), randn(cells, 16)),
    }


def _lumina2(s: int) -> dict[str, Any]:
    return _text(s, width=32) | {"timestep": tensor([0.5]), "encoder_attention_mask": ones(1, 8).bool()}


def _z_image(s: int) -> dict[str, Any]:
    # A list of pictures, each of its own size, and of texts.
    return {"x": [randn(4, 1, 16 * s, 16 * s)], "t": tensor([0.5]), "cap_feats": [randn(8, 16)]}


def _aura(s: int) -> dict[str, Any]:
    return _text(s, width=32)


def _cogview(s: int) -> dict[str, Any]:
    size = tensor([[64.0 * s, 64.0 * s]])
    return _text(s) | {"original_size": size, "target_size": size, "crop_coords": zeros(1, 2)}


def _prx(s: int) -> dict[str, Any]:
    return _text(s) | {"timestep": tensor([0.5]), "attention_mask": ones(1, 8).bool()}


def _ernie(s: int) -> dict[str, Any]:
    return {
        "hidden_states": randn(1, 4, 8 * s, 8 * s),
        "timestep": tensor([500.0]),
        "text_bth": randn(1, 8, 16),
        # Two of the eight tokens are padding.
        "text_lens": tensor([6]),
    }


def _hunyuan_image(s: int) -> dict[str, Any]:
    return _text(s) | {"timestep": tensor([500.0]), "encoder_attention_mask": ones(1, 8)}


def _hidream(s: int) -> dict[str, Any]:
    return {
        "hidden_states": randn(1, 4, 8 * s, 8 * s),
        "timesteps": tensor([500.0]),
        "encoder_hidden_states_t5": randn(1, 6, 16),
        # Hidden states of several layers of a language model; each block takes those of one.
        "encoder_hidden_states_llama3": randn(5, 1, 6, 16),
        "pooled_embeds": randn(1, 8),
    }


_COGVIEW: dict[str, Any] = {
    **_HEADS, **_CHANNELS, "num_layers": 4, "text_embed_dim": 16, "time_embed_dim": 8, "condition_dim": 4,
    "sample_size": 16,
}  # fmt: skip
_ONE = ("num_layers",)
_TWO = ("num_layers", "num_single_layers")

IMAGE_TRANSFORMERS = (
    Specimen("Flux", "FluxTransformer2DModel", _TWO,
             {**_FLUX, "pooled_projection_dim": 32, "axes_dims_rope": [4, 4, 8], "guidance_embeds": True}, _flux),
    Specimen("Flux2", "Flux2Transformer2DModel", _TWO,
             {**_FLUX, "timestep_guidance_channels": 256, "axes_dims_rope": [4, 4, 4, 4]}, _flux2),
    Specimen("Chroma", "ChromaTransformer2DModel", _TWO,
             {**_FLUX, "axes_dims_rope": [4, 4, 8], "approximator_num_channels": 8, "approximator_hidden_dim": 16,
              "approximator_layers": 1}, _chroma),
    Specimen("QwenImage", "QwenImageTransformer2DModel", _ONE,
             {**_HEADS, "patch_size": 2, "in_channels": 16, "out_channels": 4, "num_layers": 4,
              "joint_attention_dim": 16, "axes_dims_rope": (4, 6, 6)}, _qwen),
    # Layer 0 has a second attention, over the picture alone.
    Specimen("SD3", "SD3Transformer2DModel", _ONE,
             {**_HEADS, **_CHANNELS, "sample_size": 32, "patch_size": 2, "num_layers": 4, "joint_attention_dim": 32,
              "caption_projection_dim": 64, "pooled_projection_dim": 64, "dual_attention_layers": (0,),
              "qk_norm": "rms_norm"}, _sd3),
    # Twice the channels out: a mean and a variance.
    Specimen("PixArt", "PixArtTransformer2DModel", _ONE,
             {**_HEADS, "in_channels": 4, "out_channels": 8, "num_layers": 4, "cross_attention_dim": 64,
              "sample_size": 16, "caption_channels": 16, "use_additional_conditions": False}, _pixart),
    Specimen("DiT", "DiTTransformer2DModel", _ONE,
             {**_HEADS, "in_channels": 4, "out_channels": 8, "num_layers": 4, "sample_size": 16,
              "num_embeds_ada_norm": 10}, _dit),
    # Long skips: the one class of the census that stages refuse.
    Specimen("HunyuanDiT", "HunyuanDiT2DModel", _ONE,
             {**_HEADS, "in_channels": 4, "patch_size": 2, "sample_size": 16, "hidden_size": 64, "num_layers": 4,
              "cross_attention_dim": 16, "cross_attention_dim_t5": 16, "pooled_projection_dim": 16, "text_len": 4,
              "text_len_t5": 4, "use_style_cond_and_image_meta_size": False}, _hunyuan_dit),
    # Fewer heads for keys than for queries, and refiners as a prologue.
    Specimen("Lumina2", "Lumina2Transformer2DModel", _ONE,
             {"sample_size": 16, "patch_size": 2, "in_channels": 4, "hidden_size": 24, "num_layers": 4,
              "num_refiner_layers": 1, "num_attention_heads": 3, "num_kv_heads": 1, "multiple_of": 2,
              "axes_dim_rope": (4, 2, 2), "axes_lens": (128, 128, 128), "cap_feat_dim": 32}, _lumina2),
    Specimen("Sana", "SanaTransformer2DModel", _ONE,
             {**_CHANNELS, "patch_size": 1, "num_layers": 4, "attention_head_dim": 8, "num_attention_heads": 4,
              "num_cross_attention_heads": 4, "cross_attention_head_dim": 8, "cross_attention_dim": 32,
              "caption_channels": 16, "sample_size": 16}, _text),
    Specimen("ZImage", "ZImageTransformer2DModel", ("n_layers",),
             {"in_channels": 4, "dim": 48, "n_layers": 4, "n_refiner_layers": 1, "n_heads": 3, "n_kv_heads": 3,
              "cap_feat_dim": 16, "axes_dims": [8, 4, 4], "axes_lens": [128, 64, 64]}, _z_image),
    # Two lists of layers, whose numbers have names of their own.
    Specimen("AuraFlow", "AuraFlowTransformer2DModel", ("num_mmdit_layers", "num_single_dit_layers"),
             {**_HEADS, **_CHANNELS, "sample_size": 32, "patch_size": 2, "num_mmdit_layers": 2,
              "num_single_dit_layers": 3, "joint_attention_dim": 32, "caption_projection_dim": 64,
              "pos_embed_max_size": 256}, _aura),
    Specimen("Bria", "BriaTransformer2DModel", _TWO,
             {**_FLUX, "pooled_projection_dim": 32, "axes_dims_rope": [4, 4, 8]}, _chroma),
    Specimen("LongCatImage", "LongCatImageTransformer2DModel", _TWO,
             {**_FLUX, "pooled_projection_dim": 32, "axes_dims_rope": [4, 4, 8]}, _chroma),
    Specimen("OvisImage", "OvisImageTransformer2DModel", _TWO,
             {**_FLUX, "out_channels": 4, "axes_dims_rope": (4, 4, 8)}, _chroma),
    Specimen("CogView3Plus", "CogView3PlusTransformer2DModel", _ONE, {**_COGVIEW, "pos_embed_max_size": 32}, _cogview),
    Specimen("CogView4", "CogView4Transformer2DModel", _ONE, {**_COGVIEW, "rope_axes_dim": (8, 8)}, _cogview),
    Specimen("PRX", "PRXTransformer2DModel", ("depth",),
             {"in_channels": 4, "patch_size": 2, "context_in_dim": 16, "hidden_size": 32, "mlp_ratio": 2.0,
              "num_heads": 2, "depth": 4, "axes_dim": [8, 8]}, _prx),
    Specimen("ErnieImage", "ErnieImageTransformer2DModel", _ONE,
             {**_CHANNELS, "hidden_size": 32, "num_attention_heads": 2, "num_layers": 4, "ffn_hidden_size": 48,
              "text_in_dim": 16, "rope_axes_dim": (4, 6, 6)}, _ernie),
    Specimen("HunyuanImage", "HunyuanImageTransformer2DModel", _TWO,
             {**_HEADS, **_CHANNELS, "num_layers": 2, "num_single_layers": 3, "num_refiner_layers": 1,
              "text_embed_dim": 16, "rope_axes_dim": (8, 8)}, _hunyuan_image),
    # A layer wraps a block of another class, and returns what that does.
    Specimen("HiDreamImage", "HiDreamImageTransformer2DModel", _TWO,
             {**_CHANNELS, "patch_size": 2, "num_layers": 2, "num_single_layers": 2, "attention_head_dim": 16,
              "num_attention_heads": 2, "caption_channels": [16, 16], "text_emb_dim": 8, "axes_dims_rope": (8, 4, 4),
              "max_resolution": (16, 16), "llama_layers": [0, 1, 2, 3], "force_inference_output": True}, _hidream),
)  # fmt: skip
