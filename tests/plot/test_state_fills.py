"""The filled outlines of a map: few, and each cell once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from toolkit.plot.state_fills import blocks


@given(hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_blocks_cover_what_is_set_and_nothing_twice(here):
    covered = np.zeros(here.shape, int)
    for top, bottom, left, right in blocks(here):
        covered[top:bottom, left:right] += 1
    assert (covered == here).all()


def test_a_map_of_one_state_is_one_block():
    assert blocks(np.ones((40, 30), bool)) == [(0, 40, 0, 30)]
    assert blocks(np.zeros((4, 3), bool)) == []
