"""Input files: tensors, pictures and videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import Tensor

from toolkit.errors import PlanError
from toolkit.runs.video_file import read_video

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def read_tensor(text: str) -> Tensor:
    """The tensor in ``file.safetensors``, or in ``file.safetensors:name`` if the file has several.

    Raises:
        PlanError: If the file or tensor does not exist, or the name is missing.
    """
    file, _, name = text.partition(".safetensors:")
    path = Path(f"{file}.safetensors" if name else text)
    if path.suffix != ".safetensors" or not path.is_file():
        raise PlanError(f"{text}: must be an existing .safetensors file.")
    try:
        with safe_open(path, "pt") as found:
            names = list(found.keys())
            if not name and len(names) != 1:
                raise PlanError(f"{path} contains {', '.join(names) or 'no tensors'}: name one as {path}:name.")
            if name and name not in names:
                raise PlanError(f"{path} has no tensor {name!r}: it contains {', '.join(names) or 'no tensors'}.")
            return found.get_tensor(name or names[0])
    except SafetensorError as error:
        raise PlanError(f"{path} is not a valid safetensors file ({error}): give another file.") from error


def read_sample(text: str) -> Tensor:
    """A sample in -1..1 from a tensor file, a picture (``1 3 h w``) or a video (``1 3 t h w``)."""
    path = Path(text)
    if path.suffix.lower() in PICTURES and path.is_file():
        with Image.open(path) as file:
            picture = torch.from_numpy(np.array(file.convert("RGB")))
        return rearrange(picture, "h w c -> 1 c h w").float() / 127.5 - 1
    if path.suffix.lower() == ".mp4" and path.is_file():
        return read_video(path)
    return read_tensor(text)
