"""The memory of stages: the fitted model reproduces the law that the numbers come from."""

from __future__ import annotations

import pytest

from toolkit.analysis.stage_memory import fit_memory
from toolkit.errors import ToolkitError


def test_a_law_is_found_again():
    fit = fit_memory({count: 3.5 + 12.0 / count for count in (1, 2, 3, 8)})
    assert (fit.everywhere, fit.divided, fit.error) == pytest.approx((3.5, 12.0, 0.0), abs=1e-12)
    assert fit.at(6) == pytest.approx(5.5)


def test_two_points_are_met():
    fit = fit_memory({1: 10.0, 4: 4.0})
    assert (fit.at(1), fit.at(4)) == pytest.approx((10.0, 4.0))


@pytest.mark.parametrize("measured", [{}, {2: 1.0}, {0: 1.0, 2: 1.0}])
def test_too_little_is_refused(measured):
    with pytest.raises(ToolkitError, match="at least two numbers of ranks"):
        fit_memory(measured)
