"""Where dims go in a view is read off strides: no view may make one dim look like another."""

from __future__ import annotations

from itertools import combinations_with_replacement, permutations

import pytest
import torch
from torch import Tensor

from toolkit.distributed.shards.rules.views import _CUT, _STRIDES, _probe


def test_no_stride_is_a_multiple_of_another():
    assert all(other % stride for stride, other in permutations(_STRIDES, 2))


def test_no_stride_is_the_sum_of_two():
    assert not {one + other for one, other in combinations_with_replacement(_STRIDES, 2)} & set(_STRIDES)


@pytest.mark.parametrize(
    ("view", "args", "moves"),
    [
        (Tensor.permute, (2, 0, 3, 1), (1, 3, 0, 2)),
        (Tensor.unsqueeze, (1,), (0, 2, 3, 4)),
        (Tensor.transpose, (-1, -2), (0, 1, 3, 2)),
        (Tensor.unfold, (2, 2, 2), (0, 1, _CUT, 3)),
        (Tensor.diagonal, (0, 2, 3), (0, 1, _CUT, _CUT)),
        (Tensor.__getitem__, ((slice(None), slice(None, None, 2)),), (0, _CUT, 2, 3)),
        (Tensor.select, (1, 0), (0, _CUT, 1, 2)),
    ],
)
def test_dims_are_recognised_after_a_view(view, args, moves):
    assert _probe(view, (torch.empty(4, 4, 4, 4), *args), kwargs={}) == [moves]
