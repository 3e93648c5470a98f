"""A small trained pipeline that turns a sentence into a video: a coloured shape that moves."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from safetensors.torch import load_model
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from toolkit.models.demo.checkpoints import WEIGHTS, Module, halved, load
from toolkit.models.demo.clips import FRAMES, SIZE

FOLDER = WEIGHTS / "pipeline"

TOKENS = 16
"""Length that prompts are padded to, in training and in calls."""


def pipeline() -> WanPipeline:
    """Load a small trained pipeline that makes videos of ``PROMPTS``. It is of its own class; nothing in it is changed.

    It is a small Wan 2.1: ``video_vae()``, a transformer of eight layers that can be cut into 2, 4 or 8 equal stages,
    and a text encoder of one layer. It knows the words of ``PROMPTS`` and no others; every other word reads as
    ``<unk>``, which it was not trained on. Its calls need the arguments that :func:`call` gives, because the pipeline's
    own defaults are for a model ten thousand times larger. ``pipeline().save_pretrained(folder)`` writes a folder that
    stages can load.

    In samples of all prompts, every colour and motion was right, and so were three shapes in four: squares often are
    round. Its transformer predicts the picture and not the velocity; the scheduler knows by its
    ``prediction_type="sample"``.

    Returns:
        A new pipeline at each call, in fp32 on the CPU.

    Example:
        >>> pipe = pipeline()
        >>> len(pipe.transformer.blocks)
        8
        >>> pipe.set_progress_bar_config(disable=True)
        >>> pipe(**call("a red ball moves right", num_inference_steps=2)).frames.shape  # b t h w c in [0, 1]
        (1, 13, 64, 64, 3)
    """
    # Given as folders, none of the parts is looked for on the Hub.
    transformer = WanTransformer3DModel.from_config(WanTransformer3DModel.load_config(FOLDER / "transformer"))
    text_encoder = UMT5EncoderModel(UMT5Config.from_pretrained(FOLDER / "text_encoder"))
    return WanPipeline(
        tokenizer=PreTrainedTokenizerFast.from_pretrained(FOLDER / "tokenizer"),
        text_encoder=_filled(text_encoder, FOLDER / "text_encoder" / "model.safetensors"),
        vae=load(AutoencoderKLWan, WEIGHTS / "video_vae"),
        scheduler=UniPCMultistepScheduler.from_pretrained(FOLDER / "scheduler"),
        transformer=_filled(transformer, FOLDER / "transformer" / "diffusion_pytorch_model.safetensors"),
    )


def call(prompt: str | list[str] = "a red ball moves right", seed: int = 0, **more: Any) -> dict[str, Any]:
    """Return arguments with which the demo pipeline shows a prompt well: ``pipe(**call("a green square moves up"))``.

    Args:
        prompt: One of ``PROMPTS``, or several for as many videos in one batch.
        seed: Seed of the noise that it starts from. It decides the background and the lane of the shape.
        **more: Arguments of the pipeline's call; they replace those given here.

    Returns:
        The arguments, with a new generator at its start.

    Example:
        >>> call(seed=1, num_inference_steps=6)["num_inference_steps"]
        6
    """
    given = {"height": SIZE[0], "width": SIZE[1], "num_frames": FRAMES, "max_sequence_length": TOKENS}
    generator = torch.Generator().manual_seed(seed)
    steps = {"num_inference_steps": 12, "guidance_scale": 4.0, "output_type": "np"}
    return {"prompt": prompt, **given, **steps, "generator": generator, **more}


def _filled(model: Module, file: Path) -> Module:
    # Not by from_pretrained, which draws a progress bar for one of them and needs accelerate for the other.
    load_model(model.float(), file)
    return model.eval().requires_grad_(False)


def save_pipeline(pipe: WanPipeline, folder: Path) -> None:
    """Write a pipeline to a folder as published ones are, with weights in half precision and without the video model.

    Args:
        pipe: The pipeline.
        folder: The folder to write to; files that are there are replaced.
    """
    parts = pipe.components | {name: halved(getattr(pipe, name)) for name in ("transformer", "text_encoder")}
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
        WanPipeline(**parts).save_pretrained(draft)
        shutil.rmtree(Path(draft, "vae"))  # it is shipped once, under its own name
        for file in Path(draft).rglob("*.*"):
            file.chmod(0o644)
            to = folder / file.relative_to(draft)
            to.parent.mkdir(exist_ok=True)
            os.replace(file, to)
