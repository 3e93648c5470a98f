"""The scale from errors to colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.errors import PlanError
from toolkit.plot.error_pixels import ErrorScale, pool


class TestErrorScale:
    scale = ErrorScale((1e-4, 1.0), signed=True)

    def test_zero_is_in_the_middle_and_signs_are_mirrored(self):
        errors = np.array([0.0, 1e-5, -1e-5, 0.01, -0.01, 3.0, -3.0])
        place = self.scale.place(errors)
        assert place.tolist() == [0.5, 0.5, 0.5, 0.75, 0.25, 1.0, 0.0]

    def test_nan_is_the_worst(self):
        for scale in (self.scale, ErrorScale()):
            assert scale.place(np.array([np.nan])) == 1.0

    def test_blocks_keep_what_is_largest_with_its_sign(self):
        error = torch.tensor([[1.0, -3.0, 0.5], [2.0, 0.0, -0.25]])
        assert pool(error, 2).tolist() == [[-3.0, 0.5]]
        assert pool(error, 1) is error
        assert torch.isnan(pool(torch.tensor([[1.0, torch.nan]]), 2)).all()


@pytest.mark.parametrize("limits", [(0.0, 1.0), (1.0, 0.1), (1.0, 1.0), (0.1, float("inf"))])
def test_limits_are_two_rising_positive_numbers(limits):
    with pytest.raises(PlanError, match="limits="):
        ErrorScale(limits)
