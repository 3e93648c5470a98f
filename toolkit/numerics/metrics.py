"""How much two samples differ: largest error, PSNR and SSIM, on raw tensors.

Compare the outputs of a model before any codec: the PSNR of two decodes can fall from 66 dB to 43 dB once both are MP4
files. Everything is computed in float64, one frame at a time, whatever the dtype of the inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite, log10

import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from toolkit.errors import ToolkitError

SSIM_SIDE = 7
"""The side of the square over which SSIM averages. Smaller frames use the largest odd side that fits."""


@dataclass(frozen=True, slots=True)
class FrameError:
    """How much one frame differs from the same frame of the reference.

    Attributes:
        max_abs: Largest absolute difference.
        mse: Mean squared difference.
        psnr: Peak signal-to-noise ratio in dB; ``inf`` for equal frames.
        ssim: Structural similarity; 1.0 for equal frames.
    """

    max_abs: float
    mse: float
    psnr: float
    ssim: float


def max_abs(a: Tensor, b: Tensor) -> float:
    """The largest absolute difference; ``nan`` if either sample contains ``nan``.

    Args:
        a: The sample, ``b c h w`` or ``b c t h w``.
        b: The reference, of the same shape.

    Raises:
        ToolkitError: If the shapes differ, or are not those of pictures or videos.

    Example:
        >>> max_abs(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), -0.5))
        0.5
    """
    return float(torch.stack([(x - y).abs().max() for x, y in paired_frames(a, b)]).max())


def psnr(a: Tensor, b: Tensor, *, data_range: float = 2.0) -> float:
    """Peak signal-to-noise ratio in dB over all frames together; ``inf`` for equal samples.

    Args:
        a: The sample, ``b c h w`` or ``b c t h w``.
        b: The reference, of the same shape.
        data_range: Largest minus smallest possible value: 2.0 for samples in -1..1.

    Example:
        >>> psnr(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5))
        12.041199826559248
    """
    errors = [(x - y).square().mean() for x, y in paired_frames(a, b)]
    return decibels(float(torch.stack(errors).mean()), data_range)


def ssim(a: Tensor, b: Tensor, *, data_range: float = 2.0) -> float:
    """Mean structural similarity over all frames (Wang et al. 2004), averaged over colour channels.

    scikit-image computes it. SSIM has many variants (size, border, covariance), so a version of our own would match no
    one else's numbers.

    Args:
        a: The sample, ``b c h w`` or ``b c t h w``.
        b: The reference, of the same shape.
        data_range: Largest minus smallest possible value: 2.0 for samples in -1..1.

    Raises:
        ToolkitError: If a frame is less than 3 cells high or wide.

    Example:
        >>> ramp = torch.linspace(-1, 1, 64).view(1, 1, 8, 8)
        >>> ssim(ramp, ramp), round(ssim(ramp, ramp / 2), 2)
        (1.0, 0.64)
    """
    _check_range(data_range)
    similarities = [_frame_ssim(x, y, data_range=data_range) for x, y in paired_frames(a, b)]
    return sum(similarities) / len(similarities)


def frame_errors(a: Tensor, b: Tensor, *, data_range: float = 2.0) -> tuple[FrameError, ...]:
    """All metrics of each frame, in the order ``(b t)``.

    Example:
        >>> video = torch.zeros(1, 3, 5, 8, 8)
        >>> [error.psnr for error in frame_errors(video, video)]
        [inf, inf, inf, inf, inf]
    """
    _check_range(data_range)
    errors = []
    for x, y in paired_frames(a, b):
        mse = float((x - y).square().mean())
        errors.append(
            FrameError(
                float((x - y).abs().max()), mse, decibels(mse, data_range), _frame_ssim(x, y, data_range=data_range)
            )
        )
    return tuple(errors)


def difference(a: Tensor, b: Tensor) -> Tensor:
    """``a - b`` on the CPU, in float32, or in float64 if either is. In a narrow dtype, small errors would round to 0.

    Example:
        >>> half = torch.ones(1, 1, 1, 1, dtype=torch.bfloat16)
        >>> difference(half, half * 0.99609375).item()
        0.00390625
    """
    check_same_shape(a, b)
    wide = torch.float64 if torch.float64 in (a.dtype, b.dtype) else torch.float32
    return a.detach().to("cpu", wide) - b.detach().to("cpu", wide)


def decibels(mse: float, data_range: float = 2.0) -> float:
    """Convert a mean squared error to PSNR in dB."""
    _check_range(data_range)
    if mse in (0, inf):
        return inf if mse == 0 else -inf
    return 10 * log10(data_range**2 / mse)


def frames(sample: Tensor) -> tuple[Tensor, ...]:
    """Split ``b c h w`` or ``b c t h w`` into frames ``c h w``, in the order ``(b t)``. They are views, not copies.

    Raises:
        ToolkitError: If the number of dims is another one, or the tensor is empty.

    Example:
        >>> len(frames(torch.zeros(2, 3, 5, 8, 8))), frames(torch.zeros(2, 3, 8, 8))[1].shape
        (10, torch.Size([3, 8, 8]))
    """
    if sample.ndim not in (4, 5) or sample.numel() == 0:
        raise ToolkitError(
            f"shape {tuple(sample.shape)}: must be b c h w or b c t h w, and not empty. "
            "Add missing dims, for example with sample[None]."
        )
    if sample.ndim == 4:
        return sample.unbind(0)
    return tuple(frame for video in sample.unbind(0) for frame in video.unbind(1))


def paired_frames(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each frame ``c h w`` of ``a`` with that of ``b``, in float64 on the CPU.

    Frames are converted one at a time, because a whole video in float64 may not fit into memory.

    Raises:
        ToolkitError: If the shapes differ, or are not those of pictures or videos.
    """
    check_same_shape(a, b)
    for x, y in zip(frames(a.detach()), frames(b.detach()), strict=True):
        yield _wide(x), _wide(y)


def check_same_shape(a: Tensor, b: Tensor) -> None:
    """Refuse to compare samples of different shapes.

    Raises:
        ToolkitError: If the shapes differ. The message names both.
    """
    if a.shape != b.shape:
        raise ToolkitError(
            f"shapes {tuple(a.shape)} and {tuple(b.shape)} differ. Compare samples made from the same latent."
        )


def _wide(frame: Tensor) -> Tensor:
    return frame.to("cpu", torch.float64)


def _frame_ssim(a: Tensor, b: Tensor, *, data_range: float) -> float:
    smallest = min(a.shape[-2:])
    if smallest < 3:
        raise ToolkitError(
            f"frame of {a.shape[-2]} x {a.shape[-1]}: SSIM needs at least 3 x 3. Use max_abs and psnr instead."
        )
    side = min(SSIM_SIDE, smallest - (smallest + 1) % 2)  # scikit-image takes odd sides only
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]
            a.numpy(), b.numpy(), win_size=side, data_range=data_range, channel_axis=0
        )
    )


def _check_range(data_range: float) -> None:
    if not (isfinite(data_range) and data_range > 0):
        raise ToolkitError(f"data_range={data_range}: must be a finite number above 0; 2.0 for samples in -1..1.")
