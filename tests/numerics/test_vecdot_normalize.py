"""Normalisation by vecdot: as near to double precision as torch's own, and torch's own where it must be."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from toolkit.numerics.vecdot_normalize import normalize


@pytest.mark.parametrize("shape", [(1, 32, 3, 7, 5), (2, 5, 4, 4), (1, 8, 1)])
@pytest.mark.parametrize("dim", [1, -1])
def test_as_near_to_double_precision_as_torch(shape, dim):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + torch.linspace(-40, 40, shape[-1])
    exact = F.normalize(x.double(), dim=dim)
    theirs = (F.normalize(x, dim=dim) - exact).abs().max()
    assert (normalize(x, dim=dim) - exact).abs().max() <= max(1.5 * theirs, 1e-7)


def test_nothing_to_divide_by():
    assert torch.equal(normalize(torch.zeros(1, 4, 2, 2)), torch.zeros(1, 4, 2, 2))


@pytest.mark.parametrize("change", [{"p": 1.0}, {"dim": (1, 2)}, {"eps": 0.5}])
def test_other_arguments(change):
    x = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0)) / 4
    torch.testing.assert_close(normalize(x, **change), F.normalize(x, **change))


def test_narrow_dtypes_are_torchs():
    x = torch.randn(1, 64, 5, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(normalize(x), F.normalize(x, dim=1))
