"""Input and output files: tensors, pictures and videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from toolkit.runs.written import write

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


def check_video(path: Path | None, fps: float) -> None:
    """Refuse a video that cannot be written, before anything runs. Other files are looked at as options are read."""
    if path is not None and path.suffix == ".mp4":
        VideoFile(path, fps).check("--out ")


def check_shape(path: Path | None, shape: Sequence[int]) -> None:
    """Refuse a picture or a video of an output that is none, as soon as the output's shape is known.

    Raises:
        PlanError: If a picture is not ``1 3 h w``, or a video not ``1 3 t h w`` with even sides.
    """
    if path is None or path.suffix == ".safetensors":
        return
    video = path.suffix == ".mp4"
    form = "video must be 1 x 3 x t x h x w, with even h and w" if video else "picture must be 1 x 3 x h x w"
    odd = video and any(side % 2 for side in shape[-2:])
    if len(shape) != (5 if video else 4) or tuple(shape[:2]) != (1, 3) or odd:
        raise PlanError(f"--out {path}: a {form}, but the output is {tuple(shape)}; use another file type.")


def write_sample(sample: Tensor, path: Path, *, fps: float) -> str:
    """Write an output and return a description of what was written. Samples are in -1..1, except in .safetensors files.

    Raises:
        PlanError: If a picture is not ``1 3 h w``, or a video not ``1 3 t h w``.
        ToolkitError: If the file cannot be written. What was there is unchanged.
    """
    check_shape(path, sample.shape)
    if path.suffix == ".mp4":
        with VideoFile(path, fps).writing() as write_frames:
            write_frames(sample, 0)
    else:
        contents = _tensor_file(sample) if path.suffix == ".safetensors" else _picture(sample).save
        write(path, contents, private=False)
    return f"{'x'.join(map(str, sample.shape))} {str(sample.dtype).removeprefix('torch.')} in {path}"


def _tensor_file(sample: Tensor) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        try:
            save_file({"sample": sample.contiguous()}, path)
        except SafetensorError as error:
            # It is what the library makes of a full disk, too.
            raise OSError(str(error)) from error

    return save


def _picture(sample: Tensor) -> Image.Image:
    pixels = (sample[0].float().clamp(-1, 1) + 1) * 127.5
    return Image.fromarray(rearrange(pixels, "c h w -> h w c").round().byte().numpy())
