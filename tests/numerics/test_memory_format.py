"""Maps that are channels-last, and maps that only look like it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from toolkit.numerics.memory_format import memory_format_of
from toolkit.numerics.statistics import group_norm_with, moments_of

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


@pytest.mark.parametrize("shape", [(1, 8, 5, 4), (2, 8, 5, 4), (1, 8, 3, 5, 4), (2, 8, 3, 5, 4)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_moments_and_norm_keep_the_format_and_agree_with_the_other_one(shape, dtype):
    # A level of 40 deviations: sums of squares would cancel.
    x = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) / 40 + 1).to(dtype)
    last = x.contiguous(memory_format=LAST[x.ndim])
    assert (memory_format_of(x), memory_format_of(last)) == (torch.contiguous_format, LAST[x.ndim])
    moments = moments_of(last, 4)
    exact = x.double().reshape(shape[0], 4, -1).var(-1, correction=0)
    assert (moments.variance / exact - 1).abs().max() < (1e-12 if dtype is torch.float64 else 2e-6)
    assert (moments_of(x, 4).variance / exact - 1).abs().max() < (1e-12 if dtype is torch.float64 else 2e-6)
    weight, bias = torch.randn(8, dtype=dtype), torch.randn(8, dtype=dtype)
    out = group_norm_with(last, 4, moments=moments, weight=weight, bias=bias)
    assert memory_format_of(out) == LAST[x.ndim]
    whole = F.group_norm(x.double(), 4, weight.double(), bias.double())
    assert (out.double() - whole).abs().max() < {8: 1e-12, 4: 2e-5, 2: 6e-2}[dtype.itemsize]


def test_a_map_that_a_reshape_made_only_looks_like_channels_last():
    tokens = torch.randn(1, 30, 8, generator=torch.Generator().manual_seed(0))
    x = tokens.transpose(1, 2).reshape(1, 8, 5, 6)
    assert memory_format_of(x) == torch.channels_last
    assert memory_format_of(F.group_norm(x, 4)) == torch.contiguous_format


def test_views_and_other_tensors_are_contiguous():
    assert memory_format_of(torch.ones(1, 2, 4, 4)[..., ::2]) == torch.contiguous_format
    assert memory_format_of(torch.ones(2, 3)) == torch.contiguous_format
