"""Videos as files, written frame by frame while they are decoded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from toolkit.about import how_to_install
from toolkit.errors import PlanError, ToolkitError
from toolkit.geometry.checks import is_number
from toolkit.runs.written import check_writable, draft, explained


@dataclass(frozen=True, slots=True)
class VideoFile:
    """Where a decoded video goes, in H.264: what is written is compressed, so compare tensors, not files.

    Attributes:
        path: the file; it ends in ``.mp4`` and is replaced once the video is complete.
        fps: frames per second.

    Raises:
        PlanError: for another ending, or a rate that is not a finite number above 0.

    Example:
        >>> VideoFile("sample.mp4", fps=24)
        VideoFile(path='sample.mp4', fps=24)
    """

    path: str | Path
    fps: float = 16

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | Path):
            raise PlanError(f"path={self.path!r}: must be a str or a Path; give the name of a file that ends in .mp4.")
        if Path(self.path).suffix != ".mp4":
            raise PlanError(f"path={str(self.path)!r}: must end in .mp4.")
        check_rate(self.fps)

    def check(self, what: str = "path=") -> None:
        """Refuse a file that cannot be written, before frames are computed for it.

        Args:
            what: How the caller names the argument.

        Raises:
            PlanError: If the path is a folder, or its folder does not exist.
            ToolkitError: If what writes videos is not installed.
        """
        check_writable(self.path, what)
        _plugin()

    @contextmanager
    def writing(self) -> Iterator[Callable[[Tensor, int], None]]:
        """Write the file inside the ``with`` block, by a function of frames and of the place of the first of them.

        The frames lie in a file of another name beside it until the block ends. If it raises, that file is removed, and
        ``path`` stays what it was.

        Raises:
            ToolkitError: If the file cannot be written, for example because the disk is full.
        """
        self.check()
        with draft(self.path, private=False) as name:
            with explained(self.path):
                file = _plugin().imopen(name, "w", plugin="pyav")
                file.init_video_stream("libx264", fps=self.fps)

            def write(frames: Tensor, start: int) -> None:
                shown = pixels(frames)
                with explained(self.path):
                    for frame in shown:
                        file.write_frame(frame)

            try:
                yield write
            except BaseException:
                # Closing writes what is left, and may fail as the write before it did.
                with suppress(Exception):
                    file.close()
                raise
            with explained(self.path):
                file.close()


def check_rate(fps: object) -> None:
    """Refuse what is no number of frames per second.

    Example:
        >>> check_rate(float("nan"))
        Traceback (most recent call last):
        toolkit.errors.PlanError: fps=nan: must be a finite number above 0, such as 16.
    """
    # NaN is not below infinity.
    if not is_number(fps) or not 0 < float(fps) < math.inf:  # type: ignore[arg-type]
        raise PlanError(f"fps={fps!r}: must be a finite number above 0, such as 16.")


def pixels(frames: Tensor) -> Any:
    """Frames of ``1 3 t h w`` in -1..1 as ``t h w 3`` of uint8.

    Raises:
        PlanError: for more than one video, or for other channels than red, green and blue.

    Example:
        >>> import torch
        >>> pixels(torch.ones(1, 3, 2, 4, 4)).shape
        (2, 4, 4, 3)
    """
    if frames.ndim != 5 or frames.shape[0] != 1 or frames.shape[1] != 3:
        raise PlanError(
            f"frames of shape {tuple(frames.shape)}: a file holds one video, 1 x 3 x t x h x w; give a callable."
        )
    scaled = (frames.float().clamp(-1, 1) + 1) * 127.5
    return rearrange(scaled, "1 c t h w -> t h w c").round().byte().cpu().numpy()


def read_video(path: str | Path) -> Tensor:
    """The frames of a file as ``1 3 t h w`` in -1..1.

    Raises:
        ToolkitError: where what reads videos is not installed.
    """
    frames = torch.from_numpy(_plugin().imread(Path(path), plugin="pyav"))
    return rearrange(frames, "t h w c -> 1 c t h w").float() / 127.5 - 1


def _plugin() -> Any:
    """imageio, with what it writes videos by. Neither is needed for anything else."""
    try:
        import_module("av")
        return import_module("imageio.v3")
    except ModuleNotFoundError as error:
        raise ToolkitError(
            f"a video file needs {error.name}, which is not installed: {how_to_install('video')}, or use tensors."
        ) from error
