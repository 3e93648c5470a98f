"""Outputs as files: tensors, pictures and videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from toolkit.errors import PlanError
from toolkit.numerics.frame_pixels import pixels
from toolkit.runs.video_file import VideoFile
from toolkit.runs.written import write

ENDINGS = (".safetensors", ".png", ".mp4")


def check_video(path: Path | None, fps: float, what: str = "path=") -> None:
    """Refuse a video that cannot be written, before anything runs. Other files are looked at as options are read."""
    if path is not None and path.suffix == ".mp4":
        VideoFile(path, fps).check(what)


def check_shape(path: Path | None, shape: Sequence[int], what: str = "path=") -> None:
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
        raise PlanError(f"{what}{path}: a {form}, but the output is {tuple(shape)}; use another file type.")


def write_sample(sample: Tensor, path: Path, *, fps: float, what: str = "path=") -> str:
    """Write an output and return a description of what was written. Samples are in -1..1, except in .safetensors files.

    Raises:
        PlanError: If a picture is not ``1 3 h w``, or a video not ``1 3 t h w``.
        ToolkitError: If the file cannot be written. What was there is unchanged.
    """
    check_shape(path, sample.shape, what)
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
    return Image.fromarray(pixels(sample[0].float()))
