"""Where the trained weights lie, how they are written and read."""

import copy
import os
import tempfile
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import AutoencoderKL, AutoencoderKLWan
from torch import nn

WEIGHTS = Path(__file__).parent / "weights"

Model = TypeVar("Model", AutoencoderKL, AutoencoderKLWan)
Module = TypeVar("Module", bound=nn.Module)


def load(kind: type[Model], folder: Path) -> Model:
    """The model that lies in `folder`, in fp32, only for use."""
    # The default of low_cpu_mem_usage needs accelerate, and warns where that is not installed.
    vae = kind.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, torch_dtype=torch.float32, low_cpu_mem_usage=False
    )
    return vae.eval().requires_grad_(False)


def save(vae: AutoencoderKL | AutoencoderKLWan, folder: Path) -> None:
    """Writes the model to `folder` in half precision; a reader meets each file whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as draft:
        halved(vae).save_pretrained(draft)
        for file in Path(draft).iterdir():
            file.chmod(0o644)
            os.replace(file, folder / file.name)


def halved(model: Module) -> Module:
    """A copy of a model in half precision, which is how weights are shipped."""
    half = copy.deepcopy(model)
    for parameter in half.parameters():
        parameter.data = parameter.data.to(torch.float16, memory_format=torch.contiguous_format)
    return half
