"""FLIP: its authors' own program on the same pictures, and what must hold of any such measure."""

from __future__ import annotations

from math import isnan

import flip_evaluator
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from toolkit.errors import ToolkitError
from toolkit.numerics.flip import flip, flip_maps


def picture(seed: int, height: int = 40, width: int = 48) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def theirs(a: Tensor, b: Tensor, density: float) -> np.ndarray:
    test, reference = (x[0].permute(1, 2, 0).contiguous().numpy() for x in (a, b))
    error, *_ = flip_evaluator.evaluate(reference, test, "LDR", applyMagma=False, parameters={"ppd": density})
    return np.asarray(error)[..., 0]


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 99),
    height=st.integers(3, 40),
    width=st.integers(3, 40),
    density=st.sampled_from([20.0, 67.0, 110.0]),
    noise=st.sampled_from([0.01, 0.3, 3.0]),
)
def test_each_pixel_is_the_authors_own(seed, height, width, density, noise):
    a = picture(seed, height, width)
    b = (a + noise * torch.randn(a.shape, generator=torch.Generator().manual_seed(seed + 1))).clamp(0, 1)
    own = next(flip_maps(a, b, data_range=1.0, pixels_per_degree=density)).numpy()
    # Theirs is in single precision, whose rounding a square root of almost equal edges magnifies.
    np.testing.assert_allclose(own, theirs(a, b, density), atol=5e-5)


def test_colours_alone_are_the_authors_own():
    colours = torch.cartesian_prod(*[torch.tensor([0.0, 0.03, 0.5, 1.0])] * 3)
    flat = [colour.view(1, 3, 1, 1).expand(1, 3, 4, 4).contiguous() for colour in colours[::5]]
    for a, b in zip(flat, flat[1:] + flat[:1], strict=True):
        np.testing.assert_allclose(next(flip_maps(a, b, data_range=1.0)).numpy(), theirs(a, b, 67.0), atol=2e-4)


def test_equal_is_0_and_order_does_not_matter():
    a, b = picture(0), picture(1)
    assert flip(a, a, data_range=1.0) == [0.0]
    assert torch.equal(next(flip_maps(a, b, data_range=1.0)), next(flip_maps(b, a, data_range=1.0)))


def test_the_range_only_moves_the_values():
    a, b = picture(0).double(), picture(1).double()
    assert flip(2 * a - 1, 2 * b - 1) == pytest.approx(flip(a, b, data_range=1.0), rel=1e-12)
    assert flip(5 * b + 9, torch.full_like(b, 1.0), data_range=1.0) == [0.0]


def test_grey_is_three_equal_channels():
    a, b = picture(0)[:, :1], picture(1)[:, :1]
    assert flip(a, b, data_range=1.0) == flip(a.expand(-1, 3, -1, -1), b.expand(-1, 3, -1, -1), data_range=1.0)


def test_frames_are_judged_one_by_one():
    video, other = torch.stack([picture(0), picture(1)], 2), torch.stack([picture(2), picture(1)], 2)
    assert flip(video, other, data_range=1.0) == [flip(picture(0), picture(2), data_range=1.0)[0], 0.0]


def test_noise_is_less_visible_from_further_away():
    a = picture(0, 64, 64)
    b = (a + 0.1 * torch.randn(a.shape, generator=torch.Generator().manual_seed(5))).clamp(0, 1)
    near, usual, far = (flip(a, b, data_range=1.0, pixels_per_degree=density)[0] for density in (20, 67, 200))
    assert near > usual > far


def test_a_nan_is_not_hidden():
    a = picture(0)
    a[0, 0, 3, 3] = torch.nan
    assert isnan(flip(a, picture(1), data_range=1.0)[0])


@pytest.mark.parametrize(
    ("a", "more", "said"),
    [
        (torch.zeros(1, 4, 8, 8), {}, "4 channels"),
        (torch.zeros(1, 3, 8, 8), {"data_range": 255.0}, "data_range=255"),
        (torch.zeros(1, 3, 8, 8), {"pixels_per_degree": 0}, "pixels_per_degree=0"),
        (torch.zeros(3, 8, 8), {}, "b c h w"),
    ],
)
def test_refused(a, more, said):
    with pytest.raises(ToolkitError, match=said):
        flip(a, a, **more)
