"""Strips: who holds which rows, in plain integers, and the parts of a map on a lattice of ranks."""

from __future__ import annotations

import pytest
import torch

from toolkit.distributed.shards.strip import (
    Strip,
    layout_of,
    part_of,
    replaced,
    shifted,
    tensors_in,
    with_layout,
)

EXTENTS = [(6,), (6, 5), (1, 2, 3, 4), (2, 7, 1)]


@pytest.mark.parametrize("extents", EXTENTS)
def test_own_rows_partition_the_map(extents):
    strip = Strip("h", 2, 1, extents)
    rows = [row for index in range(len(extents)) for row in range(strip.own(index).start, strip.own(index).stop)]
    assert rows == list(range(strip.total))
    assert [strip.rows(index) for index in range(len(extents))] == list(extents)


@pytest.mark.parametrize("extents", EXTENTS)
@pytest.mark.parametrize("margin", [0, 1, 3, 100])
def test_held_rows_are_the_own_and_the_margin_as_far_as_the_map_goes(extents, margin):
    strip = Strip("h", 2, 1, extents, margin=margin)
    for index in range(len(extents)):
        own, held = strip.own(index), strip.held(index)
        expected = [row for row in range(strip.total) if own.start - margin <= row < own.stop + margin]
        assert list(range(held.start, held.stop)) == expected
        assert strip._replace(lo=2, hi=1).rows(index) == len(expected) + 3


def test_a_dim_of_outer_rows_and_inner():
    """The drawing: 2 frames, 3 rows, 4 columns, merged into one dim."""
    strip = Strip("h", 1, 4, (3, 5))
    merged = torch.arange(24).reshape(1, 24)
    outer = merged.shape[1] // (strip.rows(0) * strip.inner)
    assert outer == 2
    rows = merged.reshape(1, outer, strip.rows(0), strip.inner)
    assert rows[0, 1, 0].tolist() == [12, 13, 14, 15]


def test_parts_of_a_lattice_put_together_are_the_map():
    whole = torch.arange(7 * 9).reshape(1, 7, 9)
    layout = (Strip("h", 1, 1, (3, 4)), Strip("w", 2, 1, (2, 2, 5)))
    parts = [[part_of(whole, layout, {"h": h, "w": w}) for w in range(3)] for h in range(2)]
    assert torch.equal(torch.cat([torch.cat(row, 2) for row in parts], 1), whole)
    assert parts[1][2].untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
    wide = (Strip("h", 1, 1, (3, 4), margin=1),)
    assert torch.equal(part_of(whole, wide, {"h": 1}), whole[:, 2:])


def test_layouts_are_attached_to_tensors_only():
    layout = (Strip("h", 2, 1, (4, 4)),)
    x = with_layout(torch.zeros(1, 1, 4, 4), layout)
    assert layout_of(x) == layout
    assert layout_of(x.clone()) == layout_of(3) == layout_of(None) == ()


def test_one_strip_is_replaced_and_all_are_shifted():
    h, w = Strip("h", 2, 1, (4, 4)), Strip("w", 3, 1, (3, 6))
    assert replaced((h, w), w._replace(hi=2)) == (h, w._replace(hi=2))
    assert shifted((h, w), 0) == (h, w)
    assert [strip.dim for strip in shifted((h, w), 2)] == [4, 5]


def test_tensors_among_nested_arguments_in_order():
    one, two, three = (torch.full((1,), float(n)) for n in range(3))
    assert [float(t) for t in tensors_in([one, "a", (2, [two, None]), three])] == [0.0, 1.0, 2.0]
