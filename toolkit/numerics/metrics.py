"""How far two samples are apart: largest error, PSNR and SSIM, on raw tensors.

Compare what the model returned, never what a codec made of it: 66 dB between two decodes can become 43 dB
between the same two as MP4. Everything is computed in float64, one frame at a time, whatever the dtype of the
inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite, log10

import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from toolkit.errors import ToolkitError

SSIM_WINDOW = 7
"""Side of the window over which SSIM takes its means; smaller frames get the largest odd window that fits."""


@dataclass(frozen=True, slots=True)
class FrameError:
    """The distance of one frame from the same frame of the reference.

    Attributes:
        max_abs: largest absolute difference.
        mse: mean squared difference.
        psnr: in dB; ``inf`` where the frames are equal.
        ssim: 1.0 where the frames are equal.
    """

    max_abs: float
    mse: float
    psnr: float
    ssim: float


def max_abs(a: Tensor, b: Tensor) -> float:
    """The largest absolute difference; ``nan`` where either holds one.

    Args:
        a: ``b c h w`` or ``b c t h w``.
        b: the same shape.

    Raises:
        ToolkitError: where the shapes differ or are of no picture or video.

    Example:
        >>> max_abs(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), -0.5))
        0.5
    """
    return float(torch.stack([(x - y).abs().max() for x, y in frames_beside(a, b)]).max())


def psnr(a: Tensor, b: Tensor, data_range: float = 2.0) -> float:
    """Peak signal-to-noise ratio in dB over all frames together; ``inf`` for equal samples.

    Args:
        a: ``b c h w`` or ``b c t h w``.
        b: the same shape.
        data_range: largest minus smallest possible value: 2.0 for samples in -1..1.

    Example:
        >>> psnr(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5))
        12.041199826559248
    """
    errors = [(x - y).square().mean() for x, y in frames_beside(a, b)]
    return decibels(float(torch.stack(errors).mean()), data_range)


def ssim(a: Tensor, b: Tensor, data_range: float = 2.0) -> float:
    """Mean structural similarity over frames (Wang et al. 2004), colours as channels of one picture.

    scikit-image computes it: its figures are the ones that readers can check against, and SSIM has enough
    variants (window, border, covariance) that an own one would agree with nobody's.

    Args:
        a: ``b c h w`` or ``b c t h w``.
        b: the same shape.
        data_range: largest minus smallest possible value: 2.0 for samples in -1..1.

    Raises:
        ToolkitError: where a frame is less than 3 cells high or wide: SSIM needs a 3 x 3 window at least.

    Example:
        >>> ramp = torch.linspace(-1, 1, 64).view(1, 1, 8, 8)
        >>> ssim(ramp, ramp), round(ssim(ramp, ramp / 2), 2)
        (1.0, 0.64)
    """
    _check_range(data_range)
    similarities = [_frame_ssim(x, y, data_range) for x, y in frames_beside(a, b)]
    return sum(similarities) / len(similarities)


def frame_errors(a: Tensor, b: Tensor, data_range: float = 2.0) -> tuple[FrameError, ...]:
    """All figures of each frame, in the order ``(b t)``.

    Example:
        >>> video = torch.zeros(1, 3, 5, 8, 8)
        >>> [error.psnr for error in frame_errors(video, video)]
        [inf, inf, inf, inf, inf]
    """
    _check_range(data_range)
    errors = []
    for x, y in frames_beside(a, b):
        mse = float((x - y).square().mean())
        errors.append(
            FrameError(float((x - y).abs().max()), mse, decibels(mse, data_range), _frame_ssim(x, y, data_range))
        )
    return tuple(errors)


def difference(a: Tensor, b: Tensor) -> Tensor:
    """``a - b`` in float32, or in float64 where either is, so that narrow dtypes do not round the error away.

    Example:
        >>> half = torch.ones(1, 1, 1, 1, dtype=torch.bfloat16)
        >>> difference(half, half * 0.99609375).item()
        0.00390625
    """
    check_same_shape(a, b)
    wide = torch.float64 if torch.float64 in (a.dtype, b.dtype) else torch.float32
    return a.detach().to("cpu", wide) - b.detach().to("cpu", wide)


def decibels(mse: float, data_range: float = 2.0) -> float:
    """PSNR in dB from a mean squared error."""
    _check_range(data_range)
    if mse in (0, inf):
        return inf if mse == 0 else -inf
    return 10 * log10(data_range**2 / mse)


def frames(sample: Tensor) -> tuple[Tensor, ...]:
    """The frames ``c h w`` of ``b c h w`` or ``b c t h w``, in the order ``(b t)``; views, not copies.

    Raises:
        ToolkitError: for any other number of dims, or an empty tensor.

    Example:
        >>> len(frames(torch.zeros(2, 3, 5, 8, 8))), frames(torch.zeros(2, 3, 8, 8))[1].shape
        (10, torch.Size([3, 8, 8]))
    """
    if sample.ndim not in (4, 5) or sample.numel() == 0:
        raise ToolkitError(
            f"shape {tuple(sample.shape)}: must be b c h w or b c t h w, with nothing empty; "
            "add the missing dims, e.g. by sample[None]."
        )
    if sample.ndim == 4:
        return sample.unbind(0)
    return tuple(frame for video in sample.unbind(0) for frame in video.unbind(1))


def frames_beside(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of frames ``c h w`` in float64 on the CPU, one at a time: a video in float64 may not fit.

    Raises:
        ToolkitError: where the shapes differ or are of no picture or video.
    """
    check_same_shape(a, b)
    for x, y in zip(frames(a.detach()), frames(b.detach()), strict=True):
        yield _wide(x), _wide(y)


def check_same_shape(a: Tensor, b: Tensor) -> None:
    """Refuse to compare samples of different shapes.

    Raises:
        ToolkitError: naming both shapes.
    """
    if a.shape != b.shape:
        raise ToolkitError(f"shapes {tuple(a.shape)} and {tuple(b.shape)} differ: compare samples of the same latent.")


def _wide(frame: Tensor) -> Tensor:
    return frame.to("cpu", torch.float64)


def _frame_ssim(a: Tensor, b: Tensor, data_range: float) -> float:
    smallest = min(a.shape[-2:])
    if smallest < 3:
        raise ToolkitError(f"frame of {a.shape[-2]} x {a.shape[-1]}: SSIM needs at least 3 x 3; use max_abs and psnr.")
    window = min(SSIM_WINDOW, smallest - (smallest + 1) % 2)
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]
            a.numpy(), b.numpy(), win_size=window, data_range=data_range, channel_axis=0
        )
    )


def _check_range(data_range: float) -> None:
    if not (isfinite(data_range) and data_range > 0):
        raise ToolkitError(f"data_range={data_range}: must be a finite number above 0; 2.0 for samples in -1..1.")
