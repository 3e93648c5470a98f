"""A small trained pipeline that turns a sentence into a video: a coloured shape that moves."""

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
"""Length that prompts are padded to, in training as in calls."""


def pipeline() -> WanPipeline:
    """A small trained pipeline that makes videos of `PROMPTS`; its own class, nothing in it is changed.

    A Wan 2.1 in small: `video_vae()`, a transformer of eight layers that cuts into 2, 4 or 8 equal stages, and a text
    encoder of one layer. It knows the words of `PROMPTS` and no others: each other word reads as `<unk>`, on which it
    was not trained. Its calls need the arguments that :func:`call` gives, for the pipeline's own defaults are those of
    a model ten thousand times larger. Saved with `pipeline().save_pretrained(folder)` it is a folder that stages load.

    Of samples of all prompts, every colour and motion was right, and three shapes in four: squares often are round.
    Its transformer tells the picture and not the velocity, which a scheduler reads in its `prediction_type="sample"`.

    Returns:
        A pipeline of its own at each call, in fp32 on the CPU.

    Example:
        >>> pipe = pipeline()
        >>> len(pipe.transformer.blocks)
        8
        >>> pipe.set_progress_bar_config(disable=True)
        >>> pipe(**call("a red ball moves right", num_inference_steps=2)).frames.shape  # b t h w c in [0, 1]
        (1, 13, 64, 64, 3)
    """
    # Of a folder, as here, no part is looked for on the Hub.
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
    """Arguments with which the demo pipeline shows a prompt well: `pipe(**call("a green square moves up"))`.

    Args:
        prompt: one of `PROMPTS`, or several, for as many videos in one batch.
        seed: of the noise that it starts from; it decides the background and the lane of the shape.
        more: any arguments of the pipeline's call; they take the place of those given here.

    Returns:
        What to call the pipeline with, the generator new and at its start.

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
    """Writes the pipeline to `folder` as published ones are, its weights in half precision, less the video model."""
    parts = pipe.components | {name: halved(getattr(pipe, name)) for name in ("transformer", "text_encoder")}
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
        WanPipeline(**parts).save_pretrained(draft)
        shutil.rmtree(Path(draft, "vae"))
        for file in Path(draft).rglob("*.*"):
            file.chmod(0o644)
            to = folder / file.relative_to(draft)
            to.parent.mkdir(exist_ok=True)
            os.replace(file, to)
