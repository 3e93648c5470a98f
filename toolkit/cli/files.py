"""Input and output files: tensors, pictures and videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from toolkit.errors import PlanError
from toolkit.runs.video_file import VideoFile, read_video

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
ENDINGS = (".safetensors", ".png", ".mp4")


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


def check_ending(path: Path | None) -> None:
    """Refuse an output file that cannot be written, before anything runs."""
    if path is not None and path.suffix not in ENDINGS:
        raise PlanError(f"--out {path}: must end in one of {', '.join(ENDINGS)}.")
    if path is not None and not path.absolute().parent.is_dir():
        raise PlanError(f"--out {path}: the folder does not exist; create it first.")


def write_sample(sample: Tensor, path: Path, *, fps: float) -> str:
    """Write an output and return a description of what was written. Samples are in -1..1, except in .safetensors files.

    Raises:
        PlanError: If a picture is not ``1 3 h w``, or a video not ``1 3 t h w``.
    """
    if path.suffix == ".safetensors":
        save_file({"sample": sample.contiguous()}, path)
    elif path.suffix == ".mp4":
        with VideoFile(path, fps).writing() as write:
            write(sample, 0)
    else:
        if sample.ndim != 4 or tuple(sample.shape[:2]) != (1, 3):
            raise PlanError(
                f"--out {path}: a picture must be 1 x 3 x h x w, but the output is {tuple(sample.shape)}; use another "
                "file type."
            )
        pixels = (sample[0].float().clamp(-1, 1) + 1) * 127.5
        Image.fromarray(rearrange(pixels, "c h w -> h w c").round().byte().numpy()).save(path)
    return f"{'x'.join(map(str, sample.shape))} {str(sample.dtype).removeprefix('torch.')} in {path}"
