"""Largest error, PSNR and SSIM against NumPy and scikit-image on the same numbers."""

from math import inf, isnan, log10

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from toolkit.errors import ToolkitError
from toolkit.numerics.metrics import decibels, difference, frame_errors, frames, max_abs, psnr, ssim

SHAPES = [(1, 3, 16, 24), (2, 1, 7, 11), (1, 3, 5, 13, 17), (2, 3, 1, 8, 8), (1, 4, 2, 7, 7)]


def pair(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(sum(shape))
    a = torch.randn(shape, generator=random) * 0.3
    return a.to(dtype), (a + 0.05 * torch.randn(shape, generator=random)).to(dtype)


def as_arrays(sample: torch.Tensor) -> list[np.ndarray]:
    """Frames ``c h w`` by plain indexing, independent of :func:`frames`."""
    wide = sample.double().numpy()
    if wide.ndim == 4:
        return [wide[b] for b in range(len(wide))]
    return [wide[b, :, t] for b in range(wide.shape[0]) for t in range(wide.shape[2])]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_figures_equal_numpy_and_scikit_image(shape, dtype):
    a, b = pair(shape, dtype)
    wide_a, wide_b = a.double().numpy(), b.double().numpy()
    assert max_abs(a, b) == np.abs(wide_a - wide_b).max()
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(wide_a, wide_b, data_range=2.0), rel=1e-12)
    similarities = [
        structural_similarity(x, y, data_range=2.0, channel_axis=0, win_size=7)
        for x, y in zip(as_arrays(a), as_arrays(b), strict=True)
    ]
    assert ssim(a, b) == pytest.approx(np.mean(similarities), rel=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_samples(shape):
    a, _ = pair(shape)
    assert (max_abs(a, a), psnr(a, a), ssim(a, a)) == (0.0, inf, 1.0)


@pytest.mark.parametrize("offset", [0.5, -0.25])
def test_constant_offset_is_exact(offset):
    zero = torch.zeros(1, 3, 4, 11, 13)
    assert max_abs(zero + offset, zero) == abs(offset)
    assert psnr(zero + offset, zero) == pytest.approx(10 * log10(4 / offset**2), rel=1e-14)
    assert psnr(zero + offset, zero, data_range=1.0) == pytest.approx(10 * log10(1 / offset**2), rel=1e-14)


def test_psnr_pools_frames_before_the_logarithm():
    a = torch.zeros(1, 1, 2, 8, 8)
    b = a.clone()
    b[:, :, 1] = 1.0
    assert psnr(a, b) == pytest.approx(10 * log10(4 / 0.5))
    assert [error.psnr for error in frame_errors(a, b)] == [inf, pytest.approx(10 * log10(4))]


def test_frame_order_is_batch_then_time():
    video = torch.arange(6.0).view(2, 1, 3, 1, 1).expand(2, 1, 3, 8, 8)
    assert [float(frame[0, 0, 0]) for frame in frames(video)] == [0, 1, 2, 3, 4, 5]
    errors = frame_errors(video, torch.zeros_like(video), data_range=10.0)
    assert [error.max_abs for error in errors] == [0, 1, 2, 3, 4, 5]
    assert frames(video)[4].data_ptr() == video[1, :, 1].data_ptr()


def test_narrow_dtypes_are_widened_before_the_difference():
    a = torch.full((1, 1, 8, 8), 256.0, dtype=torch.bfloat16)
    b = torch.full((1, 1, 8, 8), 1.0, dtype=torch.bfloat16)
    assert max_abs(a, b) == 255.0
    assert (difference(a, b) == 255.0).all()
    assert difference(a, b).dtype == torch.float32
    assert difference(a.double(), b.double()).dtype == torch.float64


def test_unsigned_bytes_do_not_wrap():
    a, b = torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    assert max_abs(a, b) == 255.0


@pytest.mark.parametrize("place", [0, 1])
def test_nan_is_never_lost(place):
    a, b = pair((1, 3, 2, 8, 8))
    a[0, 0, place, 3, 3] = torch.nan
    assert isnan(max_abs(a, b))
    assert isnan(psnr(a, b))


def test_infinite_error():
    a = torch.zeros(1, 1, 8, 8)
    b = a.clone()
    b[0, 0, 0, 0] = inf
    assert psnr(a, b) == -inf


def test_ssim_shrinks_its_window_to_small_frames():
    a, b = pair((1, 3, 6, 9))
    expected = structural_similarity(
        *(x[0].double().numpy() for x in (a, b)), data_range=2.0, channel_axis=0, win_size=5
    )
    assert ssim(a, b) == pytest.approx(expected, rel=1e-14)
    assert ssim(a[..., :3, :3], a[..., :3, :3]) == 1.0


def test_ssim_refuses_a_frame_below_its_smallest_window():
    with pytest.raises(ToolkitError, match=r"frame of 2 x 9: SSIM needs at least 3 x 3"):
        ssim(*pair((1, 3, 2, 9)))


@pytest.mark.parametrize("figure", [max_abs, psnr, ssim, frame_errors, difference])
def test_different_shapes_are_refused(figure):
    with pytest.raises(ToolkitError, match=r"shapes \(1, 3, 8, 8\) and \(1, 3, 8, 9\) differ"):
        figure(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9))


@pytest.mark.parametrize("shape", [(8, 8), (3, 8, 8), (1, 1, 3, 4, 8, 8), (0, 3, 8, 8)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(ToolkitError, match="must be b c h w or b c t h w"):
        max_abs(torch.zeros(shape), torch.zeros(shape))


@pytest.mark.parametrize("data_range", [0, -1.0, inf, torch.nan])
def test_data_range_is_checked(data_range):
    with pytest.raises(ToolkitError, match="data_range"):
        ssim(*pair((1, 3, 8, 8)), data_range=data_range)
    with pytest.raises(ToolkitError, match="data_range"):
        decibels(0.1, data_range)


def test_gradients_are_no_obstacle():
    a, b = pair((1, 3, 8, 8))
    assert max_abs(a.requires_grad_(), b) == max_abs(a.detach(), b)
    assert not difference(a, b).requires_grad
    assert ssim(a, b) < 1
