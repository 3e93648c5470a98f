"""The kernel switch: what it touches, that it is right, and that it ends with its block."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from toolkit.numerics.convolution import OneDnnConvolutions, convolution_kernels

CASES = [
    (functional.conv2d, (1, 8, 9, 11), (4, 8, 3, 3), {"padding": 1}),
    (functional.conv2d, (1, 8, 9, 11), (4, 8, 3, 3), {"stride": 2, "padding": (0, 1)}),
    (functional.conv3d, (1, 6, 3, 7, 5), (4, 6, 3, 3, 3), {"padding": (0, 1, 1)}),
    (functional.conv3d, (1, 6, 5, 7, 5), (4, 6, 3, 1, 3), {"dilation": (2, 1, 1)}),
    (functional.conv3d, (1, 6, 3, 7, 5), (4, 6, 3, 3, 3), {"padding": "same"}),
    (functional.conv2d, (2, 8, 9, 11), (4, 8, 3, 3), {}),
    (functional.conv2d, (1, 8, 9, 11), (8, 1, 3, 3), {"groups": 8}),
]


@pytest.mark.parametrize(("conv", "shape", "weights", "options"), CASES)
@pytest.mark.parametrize("biased", [True, False])
def test_same_convolution(conv, shape, weights, options, biased):
    torch.manual_seed(0)
    x, weight = torch.randn(shape), torch.randn(weights)
    bias = torch.randn(weights[0]) if biased else None
    with torch.no_grad():
        expected = conv(x.double(), weight.double(), None if bias is None else bias.double(), **options)
        with OneDnnConvolutions():
            found = conv(x, weight, bias, **options)
    assert torch.allclose(found.double(), expected, rtol=0, atol=1e-4)


def test_small_fp32_convolutions_get_the_bits_of_onednn():
    x, weight = torch.randn(1, 16, 3, 16, 16), torch.randn(16, 16, 3, 3, 3)
    onednn = torch.mkldnn_convolution(x, weight, None, (0, 1, 1), (1, 1, 1), (1, 1, 1), 1)
    with torch.no_grad():
        with convolution_kernels("onednn"):
            assert torch.equal(functional.conv3d(x, weight, padding=(0, 1, 1)), onednn)
        with convolution_kernels("aten"):
            aten = functional.conv3d(x, weight, padding=(0, 1, 1))
        assert torch.equal(functional.conv3d(x, weight, padding=(0, 1, 1)), aten)


def test_gradients_are_left_to_torch():
    x, weight = torch.randn(1, 4, 5, 5), torch.randn(4, 4, 3, 3, requires_grad=True)
    with OneDnnConvolutions():
        functional.conv2d(x, weight).sum().backward()
    assert weight.grad is not None
