"""Merges with an axis of time: the first latent frame is one frame, and merged pictures are blended last."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from toolkit.geometry.edges import edges_into
from toolkit.geometry.grid import TileGrid
from toolkit.geometry.span import Span
from toolkit.numerics.boxes import BoxLayout
from toolkit.numerics.cascade import cascade_merge, cascade_share
from toolkit.numerics.ramps import tile_weights
from toolkit.numerics.window import window_merge, window_share

GRID = TileGrid(
    ("t", "h", "w"),
    ((Span(0, 4), Span(3, 6), Span(5, 8)), (Span(0, 3), Span(2, 5)), (Span(0, 3), Span(1, 4), Span(3, 5))),
)
BOXES = BoxLayout(GRID.axes, (4, 2, 2), (1, 2, 2))


def raw_tiles() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(BOXES.shape((1, 2, 0, 0, 0), tile.box)) + tile.index for tile in GRID.tiles]


def canvas() -> torch.Tensor:
    return torch.empty(1, 2, 29, 10, 10)


def test_a_causal_frame():
    assert BOXES.spans((Span(0, 4), Span(0, 3), Span(1, 2))) == (Span(0, 13), Span(0, 6), Span(2, 4))
    video = torch.arange(29.0).view(1, 1, 29, 1, 1)
    time = BoxLayout(("t",), (4,), (1,))
    assert time.cut(video, (Span(0, 1),)).flatten().tolist() == [0]
    assert time.cut(video, (Span(3, 4),)).flatten().tolist() == [9, 10, 11, 12]
    assert time.cut(video[:, :, 5:], (Span(3, 4),), (Span(2, 8),)).flatten().tolist() == [9, 10, 11, 12]
    assert time.shape((1, 1, 0, 1, 1), (Span(0, 3),)) == (1, 1, 9, 1, 1)


@pytest.mark.parametrize("ramp", ["linear", "cosine", "crop"])
def test_weights_of_causal_tiles_sum_to_one(ramp):
    row = GRID.rows[0]
    total = torch.zeros(29, dtype=torch.float64)
    for span, weight in zip(row, tile_weights(row, 4, ramp=ramp, first=1), strict=True):
        start = BOXES.spans((span, span, span))[0].start
        total[start : start + len(weight)] += weight
    assert torch.allclose(total, torch.ones(29, dtype=torch.float64))


@pytest.mark.parametrize("merge", ["cascade", "window"])
def test_shares_make_the_same_whole(merge):
    assert GRID.pairwise
    expected, found, raw = canvas(), canvas(), raw_tiles()
    for tile in GRID.tiles:
        share = BOXES.cut(found, tile.share_box).copy_(BOXES.cut(raw[tile.index], tile.share_box, tile.box))
        edges = {
            edge.offset: BOXES.cut(raw[edge.source], edge.box, GRID.tiles[edge.source].box).clone()
            for edge in edges_into(GRID, tile)
        }
        overlaps = BOXES.overlaps(GRID.rows, tile.position)
        if merge == "cascade":
            cascade_share(share, edges, boxes=BOXES, overlaps=overlaps)
        else:
            window_share(share, edges, boxes=BOXES, overlaps=overlaps, ramp="linear")
    if merge == "cascade":
        cascade_merge(raw, GRID, boxes=BOXES, canvas=expected)
        assert torch.equal(found, expected)
    else:
        window_merge(raw, GRID, boxes=BOXES, ramp="linear", canvas=expected)
        torch.testing.assert_close(found, expected, rtol=0, atol=4e-6)


def test_pictures_are_merged_before_time_is_blended():
    """Per slab of time: the plain cascade in space; then one ramp from merged slab to merged slab."""
    raw, found = raw_tiles(), canvas()
    space = TileGrid(GRID.axes[1:], GRID.rows[1:])
    slabs = []
    for index, span in enumerate(GRID.rows[0]):
        slab = torch.empty(1, 2, len(BOXES.spans((span,) * 3)[0]), 10, 10)
        tiles = [tile.clone() for tile in raw[index * len(space) : (index + 1) * len(space)]]
        cascade_merge(tiles, space, boxes=BoxLayout(space.axes, (2, 2)), canvas=slab)
        slabs.append(slab)
    for before, after in pairwise(slabs):
        for step in range(4):
            after[:, :, step] = before[:, :, step - 4] * (1 - step / 4) + after[:, :, step] * (step / 4)
    cascade_merge(raw, GRID, boxes=BOXES, canvas=found)
    assert torch.equal(found, torch.cat([slabs[0][:, :, :9], slabs[1][:, :, :8], slabs[2]], dim=2))
