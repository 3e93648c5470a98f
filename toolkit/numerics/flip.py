"""FLIP: the difference that a viewer sees when two pictures alternate in the same place (Andersson et al. 2020).

Implements the paper "FLIP: A Difference Evaluator for Alternating Images" for pictures of low dynamic range. PSNR and
SSIM compare the values of two tensors. FLIP estimates how visible the difference is on a screen at a given distance,
from 0 (invisible) to 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, isfinite, pi, sqrt

import torch
from torch import Tensor
from torch.nn.functional import pad

from toolkit.errors import ToolkitError
from toolkit.numerics.metrics import paired_frames

PIXELS_PER_DEGREE = 67.0
"""Pixels per degree of visual angle, for a 4K screen 0.7 m wide at a distance of 0.7 m, as in the paper."""

# Contrast sensitivity of the three channels (luminance, red-green, blue-yellow) as sums of Gaussians (a, b), where b is
# in squared degrees. _WIDEST is the largest b: it decides the size of the filters.
_SENSITIVITY = (((1.0, 0.0047),), ((1.0, 0.0053),), ((34.1, 0.04), (13.5, 0.025)))
_WIDEST = 0.04
_FEATURE_DEGREES = 0.082
_COLOUR_POWER, _FEATURE_POWER = 0.7, 0.5
_KNEE, _KNEE_ERROR = 0.4, 0.95
"""Colour differences (after the power) up to 0.4 of the largest map to errors of 0 to 0.95, the rest to 0.95 to 1."""

_TO_XYZ = torch.tensor(
    [
        [10135552 / 24577794, 8788810 / 24577794, 4435075 / 24577794],
        [2613072 / 12288897, 8788810 / 12288897, 887015 / 12288897],
        [1425312 / 73733382, 8788810 / 73733382, 70074185 / 73733382],
    ],
    dtype=torch.float64,
)
_WHITE = _TO_XYZ.sum(dim=1)


def flip(a: Tensor, b: Tensor, *, data_range: float = 2.0, pixels_per_degree: float = PIXELS_PER_DEGREE) -> list[float]:
    """The mean FLIP error of each frame, in the order ``(b t)``; ``nan`` for a frame that contains ``nan``.

    Samples are read as sRGB, or as grey if they have one channel. Values outside the range are clipped.

    Args:
        a: The sample, ``b c h w`` or ``b c t h w``, with 1 or 3 channels.
        b: The reference, of the same shape.
        data_range: 2.0 for samples in -1..1, 1.0 for samples in 0..1.
        pixels_per_degree: Pixels of the screen per degree of visual angle.

    Raises:
        ToolkitError: If the number of channels or the range is another one, or the shapes differ.

    Example:
        >>> grey = torch.zeros(1, 3, 8, 8)
        >>> flip(grey, grey), [round(error, 2) for error in flip(grey - 1, grey + 1)]
        ([0.0], [0.97])
    """
    return [
        float(error.mean()) for error in flip_maps(a, b, data_range=data_range, pixels_per_degree=pixels_per_degree)
    ]


def flip_maps(
    a: Tensor, b: Tensor, *, data_range: float = 2.0, pixels_per_degree: float = PIXELS_PER_DEGREE
) -> Iterator[Tensor]:
    """The FLIP error of each pixel, one map ``h w`` in 0..1 per frame. See :func:`flip`."""
    if data_range not in (1.0, 2.0):
        raise ToolkitError(f"data_range={data_range}: FLIP needs samples in 0..1 (data_range=1.0) or -1..1 (2.0).")
    if not (isfinite(pixels_per_degree) and pixels_per_degree > 0):
        raise ToolkitError(f"pixels_per_degree={pixels_per_degree}: must be a finite number above 0, usually 67.")
    for pair in paired_frames(a, b):
        x, y = (_shown(frame, data_range) for frame in pair)
        yield _error(x, y, density=pixels_per_degree)


def _shown(frame: Tensor, data_range: float) -> Tensor:
    """The light of the screen: linear red, green and blue, ``3 h w``, from sRGB values."""
    if len(frame) not in (1, 3):
        raise ToolkitError(f"{len(frame)} channels: FLIP needs 1 (grey) or 3 (RGB). Use psnr and ssim instead.")
    value = ((frame + 1) / 2 if data_range == 2.0 else frame).clamp(0, 1).expand(3, -1, -1)
    return torch.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _error(x: Tensor, y: Tensor, *, density: float) -> Tensor:
    # Colour errors are raised to a power below 1 where edges or points differ, which makes them larger there.
    opponents = [_opponent(picture) for picture in (x, y)]
    colour = _colour_error(*(_perceived(one, density) for one in opponents))
    return colour ** (1 - _feature_error(_luminance(opponents[0]), _luminance(opponents[1]), density=density))


def _opponent(rgb: Tensor) -> Tensor:
    """Luminance, red-green and blue-yellow: the axes of CIELAB without its cube root (YCxCz in the paper)."""
    x, y, z = torch.einsum("ij,jhw->ihw", _TO_XYZ, rgb) / _WHITE[:, None, None]
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _from_opponent(channels: Tensor) -> Tensor:
    luminance, red_green, blue_yellow = channels
    y = (luminance + 16) / 116
    xyz = torch.stack([y + red_green / 500, y, y - blue_yellow / 200]) * _WHITE[:, None, None]
    return torch.einsum("ij,jhw->ihw", torch.linalg.inv(_TO_XYZ), xyz)


def _luminance(opponent: Tensor) -> Tensor:
    return (opponent[:1] + 16) / 116


def _perceived(opponent: Tensor, density: float) -> Tensor:
    """What the eye can resolve at this distance, in CIELAB. Dark colours are weaker (the Hunt effect)."""
    reach = ceil(3 * sqrt(_WIDEST / (2 * pi**2)) * density)
    place = torch.arange(-reach, reach + 1, dtype=torch.float64) / density
    seen = []
    for channel, terms in zip(opponent, _SENSITIVITY, strict=True):
        profiles = [torch.exp(-((pi * place) ** 2) / b) for _, b in terms]
        weights = [a * sqrt(pi / b) for a, b in terms]
        # A Gaussian filter is separable: down the columns, then along the rows. A sum of two Gaussians is not, so each
        # is applied on its own. The total of all filter weights is one, so that flat areas keep their colour.
        total = sum(w * float(p.sum()) ** 2 for w, p in zip(weights, profiles, strict=True))
        parts = (w * _separable(channel[None], p, across=p) for w, p in zip(weights, profiles, strict=True))
        seen.append(torch.stack(list(parts)).sum(dim=0) / total)
    return _hunt(_lab(_from_opponent(torch.cat(seen)).clamp(0, 1)))


def _lab(rgb: Tensor) -> Tensor:
    t = torch.einsum("ij,jhw->ihw", _TO_XYZ, rgb) / _WHITE[:, None, None]
    edge = 6 / 29
    x, y, z = torch.where(t > edge**3, t.clamp(min=edge**3) ** (1 / 3), t / (3 * edge**2) + 4 / 29)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _hunt(lab: Tensor) -> Tensor:
    light = lab[:1]
    return torch.cat([light, 0.01 * light * lab[1:]])


def _distance(x: Tensor, y: Tensor) -> Tensor:
    """The HyAB distance. It also holds for large differences, where the Euclidean distance in CIELAB does not."""
    return (x[0] - y[0]).abs() + (x[1:] - y[1:]).square().sum(dim=0).sqrt()


def _colour_error(x: Tensor, y: Tensor) -> Tensor:
    # Of all colours that a screen can show, green and blue differ most in this metric: they set the scale.
    green, blue = (_hunt(_lab(torch.eye(3, dtype=torch.float64)[index].view(3, 1, 1))) for index in (1, 2))
    most = float(_distance(green, blue)) ** _COLOUR_POWER
    error, knee = _distance(x, y) ** _COLOUR_POWER, _KNEE * most
    above = _KNEE_ERROR + (error - knee) / (most - knee) * (1 - _KNEE_ERROR)
    # Rounding in the filters can push a difference slightly above the largest one, hence the clamp.
    return torch.where(error < knee, error * _KNEE_ERROR / knee, above).clamp(max=1.0)


def _feature_error(x: Tensor, y: Tensor, *, density: float) -> Tensor:
    """How strongly edges and points of one picture are missing in the other."""
    deviation = 0.5 * _FEATURE_DEGREES * density
    reach = ceil(3 * deviation)
    place = torch.arange(-reach, reach + 1, dtype=torch.float64)
    bell = torch.exp(-(place**2) / (2 * deviation**2))
    # The first and second derivative of a Gaussian respond to edges and to points.
    kernels = (-place * bell, (place**2 / deviation**2 - 1) * bell)
    differences = []
    for kernel in kernels:
        # Scale the positive weights to sum to 1 and the negative ones to -1, so that flat areas give 0.
        balanced = torch.where(kernel > 0, kernel / kernel.clamp(min=0).sum(), -kernel / kernel.clamp(max=0).sum())
        smooth = bell / bell.sum()
        strength = [
            torch.hypot(_separable(one, smooth, across=balanced), _separable(one, balanced, across=smooth))[0]
            for one in (x, y)
        ]
        differences.append((strength[0] - strength[1]).abs())
    return (torch.maximum(*differences) / sqrt(2)) ** _FEATURE_POWER


def _separable(picture: Tensor, down: Tensor, *, across: Tensor) -> Tensor:
    """Correlate ``1 h w`` with the product of two profiles. The border is padded with its own values."""
    reach = len(down) // 2
    wide = pad(picture[None], (reach,) * 4, mode="replicate")[0]
    return _along(_along(wide, down, -2), across, -1)


def _along(wide: Tensor, profile: Tensor, dim: int) -> Tensor:
    """Correlate along one dim, shift by shift. This is ten times faster than a float64 convolution."""
    length = wide.shape[dim] - len(profile) + 1
    first, *others = profile.tolist()
    total = wide.narrow(dim, 0, length) * first
    for shift, weight in enumerate(others, start=1):
        total.add_(wide.narrow(dim, shift, length), alpha=weight)
    return total
