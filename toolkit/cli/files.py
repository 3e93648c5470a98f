"""What goes in and comes out: tensors, pictures and videos as files."""

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
    """The tensor in a file, ``file.safetensors`` or ``file.safetensors:name`` where it holds several.

    Raises:
        PlanError: where there is no such file or tensor, or the name is wanting.
    """
    file, _, name = text.partition(".safetensors:")
    path = Path(f"{file}.safetensors" if name else text)
    if path.suffix != ".safetensors" or not path.is_file():
        raise PlanError(f"{text}: must be a file that ends in .safetensors, which is there.")
    try:
        with safe_open(path, "pt") as found:
            names = list(found.keys())
            if not name and len(names) != 1:
                raise PlanError(f"{path} holds {', '.join(names) or 'nothing'}: say which as {path}:name.")
            if name and name not in names:
                raise PlanError(f"{path} holds no {name!r}: it holds {', '.join(names) or 'nothing'}.")
            return found.get_tensor(name or names[0])
    except SafetensorError as error:
        raise PlanError(f"{path}: is no safetensors file ({error}).") from error


def read_sample(text: str) -> Tensor:
    """A sample in -1..1: a tensor's file, a picture ``1 3 h w``, or a video ``1 3 t h w``."""
    path = Path(text)
    if path.suffix.lower() in PICTURES and path.is_file():
        with Image.open(path) as file:
            picture = torch.from_numpy(np.array(file.convert("RGB")))
        return rearrange(picture, "h w c -> 1 c h w").float() / 127.5 - 1
    if path.suffix.lower() == ".mp4" and path.is_file():
        return read_video(path)
    return read_tensor(text)


def check_ending(path: Path | None) -> None:
    """Refuse a file that could not be written, before anything runs."""
    if path is not None and path.suffix not in ENDINGS:
        raise PlanError(f"--out {path}: must end in one of {', '.join(ENDINGS)}.")
    if path is not None and not path.absolute().parent.is_dir():
        raise PlanError(f"--out {path}: there is no such folder; make it first.")


def write_sample(sample: Tensor, path: Path, fps: float) -> str:
    """Write what came out, a sample in -1..1 unless it goes to a .safetensors file; says what was written.

    Raises:
        PlanError: where a picture is not ``1 3 h w``, or a video not ``1 3 t h w``.
    """
    if path.suffix == ".safetensors":
        save_file({"sample": sample.contiguous()}, path)
    elif path.suffix == ".mp4":
        with VideoFile(path, fps).writing() as write:
            write(sample, 0)
    else:
        if sample.ndim != 4 or tuple(sample.shape[:2]) != (1, 3):
            raise PlanError(
                f"--out {path}: a picture is 1 x 3 x h x w, this is {tuple(sample.shape)}; use another ending."
            )
        pixels = (sample[0].float().clamp(-1, 1) + 1) * 127.5
        Image.fromarray(rearrange(pixels, "c h w -> h w c").round().byte().numpy()).save(path)
    return f"{'x'.join(map(str, sample.shape))} {str(sample.dtype).removeprefix('torch.')} in {path}"
