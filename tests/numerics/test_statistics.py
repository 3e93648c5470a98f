"""Merged moments against float64 over the whole, on brightness ramps: noise would hide what a wrong merge does."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit as tk
from toolkit.numerics.statistics import Moments, group_norm_with, moments_of

cuts = st.lists(st.integers(0, 40), max_size=6)


def ramp(length: int, level: float, slope: float, batch: int = 2, channels: int = 4) -> torch.Tensor:
    """``b c l``: every channel its own level, brightness rising over the length, noise on it."""
    noise = torch.randn(batch, channels, length, generator=torch.Generator().manual_seed(length)) * 0.1
    return noise + torch.linspace(0, slope, length) + torch.arange(1.0, channels + 1)[:, None] * level


def split(x: torch.Tensor, cuts: list[int]) -> tuple[torch.Tensor, ...]:
    return torch.tensor_split(x, sorted(min(cut, x.shape[-1]) for cut in cuts), dim=-1)


@given(cuts=cuts, length=st.integers(1, 40), level=st.floats(-100, 100), slope=st.floats(-50, 50))
@settings(max_examples=80, deadline=None)
def test_parts_merge_to_the_moments_of_the_whole(cuts, length, level, slope):
    x = ramp(length, level, slope)
    merged = Moments.merge([moments_of(part, 2) for part in split(x, cuts)])
    values = x.double().view(2, 2, -1)
    assert merged.count == values.shape[-1]
    assert merged.mean.dtype == merged.m2.dtype == torch.float32
    scale = values.abs().amax(-1) + 1e-3
    assert ((merged.mean - values.mean(-1)).abs() / scale).max() < 1e-6
    assert (
        (merged.variance - values.var(-1, correction=0)).abs() / (values.var(-1, correction=0) + 1e-8 * scale**2)
    ).max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 8, 60), (1, 8, 12, 5), (3, 8, 2, 6, 5)])
def test_parts_are_normalised_as_the_whole(dtype, shape):
    x = ramp(math.prod(shape[2:]), 3, 20, shape[0], 8)
    x = x.view(shape).to(dtype)
    weight, bias = torch.randn(8).to(dtype), torch.randn(8).to(dtype)
    whole = F.group_norm(x, 4, weight, bias, 1e-6)
    parts = x.split([1, x.shape[2] - 1], dim=2)
    merged = Moments.merge([moments_of(part, 4) for part in parts])
    seen = torch.cat(
        [group_norm_with(part, 4, moments=merged, weight=weight, bias=bias, eps=1e-6) for part in parts], dim=2
    )
    assert seen.dtype == dtype
    assert (seen.double() - whole.double()).abs().max() < {8: 1e-12, 4: 2e-5, 2: 4e-2}[dtype.itemsize]
    alone = torch.cat([F.group_norm(part, 4, weight, bias, 1e-6) for part in parts], dim=2)
    assert (alone.double() - whole.double()).abs().max() > 0.5


def test_the_mean_of_variances_is_not_the_variance():
    x = ramp(32, 0, 10)
    parts = [moments_of(part, 1) for part in x.chunk(2, dim=-1)]
    averaged = sum(part.variance for part in parts) / 2
    assert (Moments.merge(parts).variance / averaged).min() > 3


def test_empty_parts_count_nothing():
    x = ramp(6, 1, 1)
    whole, nothing = moments_of(x, 2), moments_of(x[..., :0], 2)
    merged = Moments.merge([nothing, whole, nothing])
    assert nothing.count == 0
    assert torch.equal(merged.mean, whole.mean)
    assert torch.equal(merged.m2, whole.m2)
    with pytest.raises(tk.PlanError, match="parts are empty"):
        Moments.merge([nothing, nothing])


def test_moments_travel_as_one_tensor():
    moments = moments_of(ramp(6, 1, 1), 2)
    again = Moments.unpacked(moments.count, moments.packed())
    assert torch.equal(again.mean, moments.mean)
    assert torch.equal(again.m2, moments.m2)


def test_channels_must_divide():
    with pytest.raises(tk.PlanError, match="groups=3 for 4 channels"):
        moments_of(ramp(6, 1, 1), 3)
