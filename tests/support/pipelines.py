"""Whole pipelines of the real classes, every component real and tiny, that run and are saved without a network.

Weights that safetensors maps from a file start at any address, those built in memory at multiples of 64 bytes, and the
processor's kernels round by it: the same weights then give results 1e-6 apart. Two pipelines built, or two loaded from
the same files in the same dtype, give the same bits; of one built and one loaded, :func:`aligned` makes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn

from toolkit.models.autoencoders.census import specimen

WORDS = "a cat and the dog run over green hills at dawn in slow motion blurry watermark low quality"
HIDDEN = 16
"""Width of every text encoder."""


@dataclass(frozen=True, slots=True)
class Tiny:
    """One pipeline in small.

    Attributes:
        cls: the pipeline's class in diffusers.
        parts: what makes each component.
        arguments: of a cheap call, less the generator.
        config: further arguments of the pipeline's constructor.
        image: the height and width of the picture that the call starts from; None: from noise alone.
    """

    cls: str
    parts: Mapping[str, Callable[[], Any]]
    arguments: Mapping[str, Any]
    config: Mapping[str, Any]
    image: tuple[int, int] | None = None

    def build(self, seed: int = 0) -> Any:
        """The pipeline, with weights that ``seed`` decides; no gate is left at zero."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            parts = {name: _settled(make()) for name, make in self.parts.items()}
        pipe = getattr(diffusers, self.cls)(**parts, **self.config)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def call(self, seed: int = 0, **more: Any) -> dict[str, Any]:
        """Arguments of one call; latents come back, unless ``output_type`` is given."""
        picture = (
            {"image": torch.rand(1, 3, *self.image, generator=torch.Generator().manual_seed(0))} if self.image else {}
        )
        generator = torch.Generator().manual_seed(seed)
        return {**self.arguments, **picture, "output_type": "latent", "generator": generator, **more}

    def run(self, pipe: Any, seed: int = 0, **more: Any) -> Tensor:
        """What a call of ``pipe`` gives: latents, or frames or images."""
        return pipe(**self.call(seed, **more), return_dict=False)[0]

    def save(self, folder: Path, seed: int = 0, shard: str = "300KB") -> Path:
        """The pipeline written below ``folder`` as published ones are, transformers in several shards."""
        self.build(seed).save_pretrained(folder, max_shard_size=shard)
        return folder


def load(folder: Path, **more: Any) -> Any:
    """A pipeline from ``folder``, whole, with its bars off."""
    pipe = DiffusionPipeline.from_pretrained(folder, local_files_only=True, **more)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def aligned(pipe: Any) -> Any:
    """The same pipeline, each weight of it at an address as of a weight that was made in memory."""
    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            for tensor in (*part.parameters(), *part.buffers()):
                tensor.data = tensor.data.clone()
    return pipe


def _settled(part: Any) -> Any:
    if isinstance(part, nn.Module):
        part.eval().requires_grad_(False)
        if hasattr(part, "cache_context"):
            for parameter in part.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return part


def _vae(name: str, **more: Any) -> Any:
    one = specimen(name)
    return replace(one, config={**one.config, **more}).build()


def _wan_vae(name: str) -> Any:
    z = specimen(name).channels[0]
    return _vae(name, latents_mean=[0.1 * i for i in range(z)], latents_std=[1 + 0.1 * i for i in range(z)])


def _unigram() -> Any:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0)]
    words = sorted({f"▁{word}" for word in WORDS.split()})
    return transformers.T5TokenizerFast(
        vocab=[*special, *((word, -3.0) for word in words), ("▁", -4.0)], extra_ids=0, model_max_length=32
    )


def _bytes() -> dict[str, int]:
    return {letter: i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}


def _clip_tokenizer() -> Any:
    vocab = _bytes()
    for token in [f"{letter}</w>" for letter in vocab] + ["<|startoftext|>", "<|endoftext|>"]:
        vocab[token] = len(vocab)
    return transformers.CLIPTokenizer(vocab=vocab, merges=[], model_max_length=40)


CHAT = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN_TOKENS = 256 + 3


def _qwen_tokenizer() -> Any:
    vocab = {**_bytes(), "<|endoftext|>": 256}
    tokenizer = transformers.Qwen2Tokenizer(
        vocab=vocab, merges=[], extra_special_tokens=["<|im_start|>", "<|im_end|>"], padding_side="right"
    )
    tokenizer.chat_template = CHAT
    return tokenizer


def _t5(cls: str, vocab: int) -> Any:
    config = {"UMT5EncoderModel": transformers.UMT5Config, "T5EncoderModel": transformers.T5Config}[cls](
        vocab_size=vocab, d_model=HIDDEN, d_kv=8, d_ff=32, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu"
    )
    return getattr(transformers, cls)(config)


def _clip() -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=514, hidden_size=HIDDEN, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=40, bos_token_id=512, eos_token_id=513, pad_token_id=513, projection_dim=HIDDEN,
    )  # fmt: skip
    return transformers.CLIPTextModel(config)


_QWEN = {
    "vocab_size": QWEN_TOKENS, "hidden_size": HIDDEN, "intermediate_size": 32, "num_hidden_layers": 3,
    "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 2048, "bos_token_id": 256,
    "eos_token_id": 256, "pad_token_id": 256,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
}  # fmt: skip


def _qwen_text() -> Any:
    return transformers.Qwen2_5_VLTextModel(transformers.Qwen2_5_VLTextConfig(**_QWEN))


def _qwen_vl() -> Any:
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": HIDDEN}
    config = transformers.Qwen2_5_VLConfig(
        text_config=_QWEN, vision_config=vision, image_token_id=257, video_token_id=257, vision_start_token_id=257,
        vision_end_token_id=258,
    )  # fmt: skip
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


HEADS = {"num_attention_heads": 4, "attention_head_dim": 16}


def _wan(channels: int, out: int | None = None, layers: int = 6) -> Any:
    return diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2), in_channels=channels, out_channels=out or channels, text_dim=HIDDEN, freq_dim=32,
        ffn_dim=64, num_layers=layers, cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=32,
        **HEADS,
    )  # fmt: skip


def _flux() -> Any:
    return diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=2, num_single_layers=4, joint_attention_dim=HIDDEN,
        pooled_projection_dim=HIDDEN, axes_dims_rope=(4, 4, 8), guidance_embeds=True, **HEADS,
    )  # fmt: skip


def _hunyuan() -> Any:
    return diffusers.HunyuanVideo15Transformer3DModel(
        in_channels=9, out_channels=4, num_layers=4, num_refiner_layers=1, mlp_ratio=2.0, patch_size=1, patch_size_t=1,
        text_embed_dim=HIDDEN, text_embed_2_dim=HIDDEN, image_embed_dim=12, rope_axes_dim=(4, 6, 6), target_size=16,
        num_attention_heads=2, attention_head_dim=16,  # two heads: its 2000 text tokens are most of the work
    )  # fmt: skip


def _qwen() -> Any:
    return diffusers.QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=5, joint_attention_dim=HIDDEN,
        axes_dims_rope=(4, 6, 6), **HEADS,
    )  # fmt: skip


def _ltx() -> Any:
    return diffusers.LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, cross_attention_dim=64, num_layers=5, caption_channels=HIDDEN, **HEADS
    )


def _unipc(shift: float) -> Callable[[], Any]:
    return partial(
        diffusers.UniPCMultistepScheduler,
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift,
    )  # fmt: skip


def _euler(**more: Any) -> Callable[[], Any]:
    return partial(diffusers.FlowMatchEulerDiscreteScheduler, **more)


PROMPTS = {"prompt": "a cat and the dog run over green hills", "negative_prompt": "blurry low quality"}
STEPS = {"num_inference_steps": 6}
VIDEO = {**PROMPTS, **STEPS, "height": 32, "width": 48, "num_frames": 9, "max_sequence_length": 16}

_UMT5 = {"tokenizer": _unigram, "text_encoder": partial(_t5, "UMT5EncoderModel", 32)}
_WAN = {**_UMT5, "vae": partial(_wan_vae, "AutoencoderKLWan_2.1"), "scheduler": _unipc(3.0)}
_FLUX = {
    "tokenizer": _clip_tokenizer, "text_encoder": _clip, "tokenizer_2": _unigram,
    "text_encoder_2": partial(_t5, "T5EncoderModel", 32), "vae": partial(_vae, "AutoencoderKL_flux"),
    "transformer": _flux, "scheduler": _euler(shift=3.0, use_dynamic_shifting=True),
}  # fmt: skip
_FLUX_CALL = {"prompt": PROMPTS["prompt"], **STEPS, "height": 32, "width": 48, "max_sequence_length": 16}
_HUNYUAN = {
    "text_encoder": _qwen_text, "tokenizer": _qwen_tokenizer, "transformer": _hunyuan,
    "vae": partial(_vae, "AutoencoderKLHunyuanVideo15"), "scheduler": _euler(shift=5.0),
    "text_encoder_2": partial(_t5, "T5EncoderModel", 384), "tokenizer_2": transformers.ByT5Tokenizer,
    "guider": partial(diffusers.ClassifierFreeGuidance, guidance_scale=6.0),
}  # fmt: skip
_HUNYUAN_CALL = {**STEPS, "height": 32, "width": 48, "num_frames": 5}


def _embedded() -> dict[str, Tensor]:
    """A dozen text tokens in place of the thousand that the pipeline pads every prompt to: a fifth of the time."""
    generator, given = torch.Generator().manual_seed(0), {}
    for sign in ("", "negative_"):
        for encoder, tokens in (("", 12), ("_2", 6)):
            given[f"{sign}prompt_embeds{encoder}"] = torch.randn(1, tokens, HIDDEN, generator=generator)
            given[f"{sign}prompt_embeds_mask{encoder}"] = (torch.arange(tokens) < tokens - 3).long()[None]
    return given


PIPELINES: Mapping[str, Tiny] = {
    "wan": Tiny("WanPipeline", {**_WAN, "transformer": partial(_wan, 4)}, VIDEO, {}),
    "wan_ti2v": Tiny(
        "WanPipeline",
        {**_UMT5, "vae": partial(_wan_vae, "AutoencoderKLWan_2.2"), "scheduler": _unipc(5.0),
         "transformer": partial(_wan, 6)},
        {**VIDEO, "height": 64, "width": 96}, {"expand_timesteps": True},
    ),
    "wan_a14b": Tiny(
        "WanPipeline",
        {**_WAN, "transformer": partial(_wan, 4), "transformer_2": partial(_wan, 4, layers=5)},
        {**VIDEO, "guidance_scale": 4.0, "guidance_scale_2": 3.0}, {"boundary_ratio": 0.875},
    ),
    "wan_i2v_a14b": Tiny(
        "WanImageToVideoPipeline",
        {**_WAN, "transformer": partial(_wan, 12, 4), "transformer_2": partial(_wan, 12, 4),
         "image_encoder": lambda: None, "image_processor": lambda: None},
        {**VIDEO, "guidance_scale": 3.5}, {"boundary_ratio": 0.9}, image=(32, 48),
    ),
    "flux": Tiny("FluxPipeline", _FLUX, _FLUX_CALL, {}),
    "flux_true_cfg": Tiny("FluxPipeline", _FLUX, {**_FLUX_CALL, **PROMPTS, "true_cfg_scale": 2.0}, {}),
    "hunyuan15": Tiny(
        "HunyuanVideo15Pipeline",
        _HUNYUAN,
        {**PROMPTS, "prompt": 'a cat and the text "green"', **_HUNYUAN_CALL},
        {},
    ),
    "hunyuan15_embedded": Tiny("HunyuanVideo15Pipeline", _HUNYUAN, {**_embedded(), **_HUNYUAN_CALL}, {}),
    "qwen_image": Tiny(
        "QwenImagePipeline",
        {"tokenizer": _qwen_tokenizer, "text_encoder": _qwen_vl, "transformer": _qwen,
         "vae": partial(_wan_vae, "AutoencoderKLQwenImage"),
         "scheduler": _euler(use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, shift_terminal=0.02)},
        {**PROMPTS, **STEPS, "height": 64, "width": 48, "true_cfg_scale": 4.0}, {},
    ),
    "ltx": Tiny(
        "LTXPipeline",
        {"tokenizer": _unigram, "text_encoder": partial(_t5, "T5EncoderModel", 32), "transformer": _ltx,
         "vae": partial(_vae, "AutoencoderKLLTXVideo_0.9.0"),
         "scheduler": _euler(use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, shift_terminal=0.1)},
        {**VIDEO, "height": 64, "width": 96, "num_frames": 17}, {},
    ),
}  # fmt: skip
"""By name; ``flux`` has one branch, ``ltx`` both in one batch, the others two calls a step. Two are others' twins."""
