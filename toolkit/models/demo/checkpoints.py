"""Where the trained weights lie, and how they are written and read."""

from __future__ import annotations

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
    """Load the model in a folder, in fp32 and for inference only.

    Args:
        kind: The model's class.
        folder: The folder, as ``save`` writes it.
    """
    # The default of low_cpu_mem_usage needs accelerate, and warns if that is not installed.
    vae = kind.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, torch_dtype=torch.float32, low_cpu_mem_usage=False
    )
    return vae.eval().requires_grad_(False)


def save(vae: AutoencoderKL | AutoencoderKLWan, folder: Path) -> None:
    """Write a model to a folder in half precision; whoever reads at the same time finds each file whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as draft:
        halved(vae).save_pretrained(draft)
        for file in Path(draft).iterdir():
            file.chmod(0o644)
            os.replace(file, folder / file.name)


def halved(model: Module) -> Module:
    """Copy a model in half precision, as weights are shipped."""
    half = copy.deepcopy(model)
    for parameter in half.parameters():
        parameter.data = parameter.data.to(torch.float16, memory_format=torch.contiguous_format)
    return half
