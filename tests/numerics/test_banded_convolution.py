"""Convolutions in bands against the whole: any height, any padding, and what is not done in bands."""

from __future__ import annotations

import pytest
import torch

from toolkit.numerics import banded_convolution
from toolkit.numerics.banded_convolution import convolve_in_bands
from toolkit.numerics.convolution import convolve

SIZES = [
    (height, kernel, padding)
    for height in (1, 2, 3, 7, 12)
    for kernel in ((3, 3), (5, 3), (1, 3), (2, 2))
    for padding in ((0, 0), (1, 1), (2, 1), (0, 2))
    if height + 2 * padding[0] >= kernel[0]
]


@pytest.fixture(autouse=True)
def small_bands(monkeypatch):
    """Bands of one to three rows of these small maps."""
    monkeypatch.setattr(banded_convolution, "LARGE", 0)


def ramp(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) + torch.linspace(-3, 3, shape[-1])


@pytest.mark.parametrize(("height", "kernel", "padding"), SIZES)
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_bands_equal_the_whole(monkeypatch, height, kernel, padding, rows):
    x, weight, bias = ramp(1, 4, height, 6), ramp(5, 4, *kernel), ramp(5)
    whole = torch.conv2d(x, weight, bias, 1, padding)
    total = whole.shape[2]
    monkeypatch.setattr(banded_convolution, "BAND", rows * max(x.nbytes, x.nbytes // 4 * 5) / total)
    banded = convolve_in_bands(torch.conv2d, x, weight, bias, padding=padding)
    assert banded.shape == whole.shape
    assert (banded - whole).abs().max() <= 1e-6 * whole.abs().max()


@pytest.mark.parametrize(
    "other",
    [
        {"stride": (2, 2)},
        {"dilation": (2, 2)},
        {"x": ramp(2, 4, 8, 6)},
        {"x": ramp(1, 4, 8, 6).contiguous(memory_format=torch.channels_last)},
        {"x": ramp(1, 4, 8, 6).bfloat16(), "weight": ramp(5, 4, 3, 3).bfloat16()},
        {"func": torch.conv3d, "x": ramp(1, 4, 3, 8, 6), "weight": ramp(5, 4, 3, 3, 3), "padding": (1, 1, 1)}
        | dict.fromkeys(("stride", "dilation"), (1, 1, 1)),
    ],
)
def test_what_is_not_done_in_bands_is_done_at_once(monkeypatch, other):
    monkeypatch.setattr(banded_convolution, "BAND", 1)
    given = {"func": torch.conv2d, "x": ramp(1, 4, 8, 6), "weight": ramp(5, 4, 3, 3), "padding": (1, 1)} | other
    func, x, weight = (given.pop(name) for name in ("func", "x", "weight"))
    assert torch.equal(convolve_in_bands(func, x, weight, **given), convolve(func, x, weight, **given))


def test_bands_compute_hardly_more(monkeypatch):
    """Three bands of a map of 24 rows: the first and the last compute one row too many."""
    x, seen = ramp(1, 4, 24, 6), []

    def counted(*given):
        seen.append(convolve(*given))
        return seen[-1]

    monkeypatch.setattr(banded_convolution, "BAND", x.nbytes / 3)
    monkeypatch.setattr(banded_convolution, "convolve", counted)
    convolve_in_bands(torch.conv2d, x, ramp(4, 4, 3, 3), padding=(1, 1))
    assert [band.shape[2] for band in seen] == [9, 8, 9]
