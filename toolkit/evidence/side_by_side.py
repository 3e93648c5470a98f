"""The reference and the outputs side by side as a video."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.nn.functional import pad

from toolkit.evidence.subjects import Subject
from toolkit.runs.video_file import VideoFile

MOST = 3
"""Most outputs beside the reference."""

LEAST_FRAMES = 2


def can_film(subjects: Sequence[Subject]) -> bool:
    """Whether the outputs are colour videos and a video writer is installed."""
    samples = [subject.comparison.samples[1] for subject in subjects if subject.comparison is not None]
    moving = bool(samples) and samples[0].ndim == 5 and samples[0].shape[:2] == (1, 3)
    return moving and samples[0].shape[2] >= LEAST_FRAMES and all(map(find_spec, ("av", "imageio")))


def side_by_side(subjects: Sequence[Subject], fps: float) -> bytes:
    """The reference on the left and up to three outputs to its right, in H.264, for viewing only.

    Args:
        subjects: The compared runs, with outputs ``1 3 t h w``.
        fps: Frames per second.
    """
    compared = [subject.comparison for subject in subjects if subject.comparison is not None][:MOST]
    joined = torch.cat([compared[0].samples[1], *(found.samples[0] for found in compared)], dim=-1)
    with TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")
        with VideoFile(path, fps).writing() as write:
            write(_even(joined), 0)
        return path.read_bytes()


def _even(video: Tensor) -> Tensor:
    """The video padded to even sizes, because H.264 halves the resolution of colours."""
    height, width = video.shape[-2:]
    return pad(video.float(), (0, width % 2, 0, height % 2), value=-1.0)
