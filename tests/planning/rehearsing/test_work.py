"""The work of operators: arithmetic and bytes against counts by hand, and the comparison of two amounts."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
import torch
from torch import Tensor

from toolkit.planning.rehearsing.work import Work, work_of

aten = torch.ops.aten
X, WEIGHT, BIAS = torch.zeros(2, 6, 9, 11), torch.zeros(8, 3, 3, 5), torch.zeros(8)
PADDING, STRIDE, DILATION, GROUPS = [1, 2], [2, 1], [1, 1], 2
OUT = (2, 8, 5, 11)
# Each of 8 channels of an output cell is a sum over 3 of the 6 input channels and 3 x 5 cells.
PRODUCTS = 2 * 8 * 5 * 11 * 3 * 3 * 5


def size_of(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def called(func: Any, *args: Any, **kwargs: Any) -> tuple[Work, Any]:
    out = func(*args, **kwargs)
    return work_of(func, args, kwargs, out), out


def test_a_convolution_multiplies_once_per_output_cell_kernel_cell_and_pair_of_channels() -> None:
    work, out = called(aten.convolution.default, X, WEIGHT, BIAS, STRIDE, PADDING, DILATION, False, [0, 0], GROUPS)
    assert out.shape == OUT
    assert work == (2 * PRODUCTS, size_of(X, WEIGHT, BIAS, out))


def test_onednn_convolves_as_much_as_aten() -> None:
    """Its seventh argument is the number of groups, where that of ``aten.convolution`` says: transposed."""
    work, out = called(aten.mkldnn_convolution.default, X, WEIGHT, BIAS, PADDING, STRIDE, DILATION, GROUPS)
    assert out.shape == OUT
    assert work == (2 * PRODUCTS, size_of(X, WEIGHT, BIAS, out))


def test_a_transposed_convolution_multiplies_once_per_input_cell() -> None:
    x, weight = torch.zeros(2, 4, 5, 6), torch.zeros(4, 7, 3, 3)
    work, out = called(aten.convolution.default, x, weight, None, [2, 2], [0, 0], [1, 1], True, [0, 0], 1)
    assert out.shape == (2, 7, 11, 13)
    assert work == (2 * 2 * 4 * 5 * 6 * 7 * 3 * 3, size_of(x, weight, out))


def test_attention_on_the_cpu_multiplies_two_matrices_per_head() -> None:
    query, key, value = torch.zeros(2, 3, 5, 8), torch.zeros(2, 3, 7, 8), torch.zeros(2, 3, 7, 8)
    work, out = called(aten._scaled_dot_product_flash_attention_for_cpu.default, query, key, value)
    assert work == (2 * 2 * 3 * (5 * 7 * 8 + 5 * 7 * 8), size_of(query, key, value, *out))


def test_operators_that_multiply_no_matrices_only_read_and_write() -> None:
    x, y = torch.zeros(3, 4), torch.zeros(4, dtype=torch.float64)
    assert called(aten.add.Tensor, x, y)[0] == (0, 48 + 32 + 96)
    assert called(aten.cat.default, [x, x], 1)[0] == (0, 2 * 48 + 96)
    assert called(aten.sum.default, x, dtype=torch.float64)[0] == (0, 48 + 8)


def test_the_slower_of_arithmetic_and_memory_decides_the_time() -> None:
    work = Work(operations=4_000, bytes=1_000)
    assert work.seconds(operations=1_000, bandwidth=1_000) == 4.0
    assert work.seconds(operations=1_000, bandwidth=100) == 10.0
    assert work.rates(2.0) == (2_000.0, 500.0)


def test_amounts_of_work_are_compared_by_arithmetic_if_both_have_any() -> None:
    assert Work(600, 10).ratio(Work(200, 40)) == 3.0
    assert Work(0, 10).ratio(Work(200, 40)) == 0.25
    assert Work(600, 10).ratio(Work(0, 40)) == 0.25
    assert Work(0, 10).ratio(Work(0, 0)) == 10.0


def test_the_distance_is_the_same_both_ways_and_0_for_equal_work() -> None:
    small, large = Work(200, 10), Work(600, 10)
    assert small.distance(small) == 0.0
    assert small.distance(large) == pytest.approx(log(3))
    assert large.distance(small) == pytest.approx(log(3))
    assert Work(0, 0).distance(Work(0, 8)) > 20
