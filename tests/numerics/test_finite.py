"""Values that are not finite are found in every dtype and every order of memory, and finite ones are not."""

import pytest
import torch
from torch.overrides import TorchFunctionMode

from toolkit.numerics.finite import not_finite

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_of_many(dtype, value):
    x = torch.linspace(-1, 1, 60).reshape(3, 4, 5).to(dtype)
    assert not_finite(x) is None
    x[2, 1, 3] = value
    assert not_finite(x) == (1, (2, 1, 3))
    assert not_finite(x.transpose(0, 2)) == (1, (3, 1, 2))
    assert not_finite(x[:, ::2]) is None


def test_the_largest_finite_values_are_finite():
    for dtype in DTYPES[:-1]:
        assert not_finite(torch.full((1000,), torch.finfo(dtype).max, dtype=dtype)) is None


def test_what_cannot_be_anything_else():
    assert not_finite(torch.arange(3)) is None
    assert not_finite(torch.empty(0)) is None
    assert not_finite(torch.ones(2, requires_grad=True)) is None


class Looked(TorchFunctionMode):
    """Notes how many values ``isfinite`` is asked about: it takes a hundred times as long as the smallest value."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[int] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func.__name__ == "isfinite":
            self.at.append(args[0].numel())
        return func(*args, **(kwargs or {}))


def test_finite_values_are_not_looked_at_one_by_one():
    x = torch.zeros(10, 10)
    with Looked() as looked:
        not_finite(x)
    assert looked.at == [2]
    x[3, 3] = torch.nan
    with Looked() as looked:
        not_finite(x)
    assert looked.at == [2, 100]
