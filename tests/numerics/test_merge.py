"""The two merges: the cascade against diffusers' own loops, the window against what it says of itself."""

from __future__ import annotations

from functools import partial
from itertools import product

import pytest
import torch
from diffusers import AutoencoderKL
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.geometry import Span, TileGrid
from toolkit.geometry.edges import edges_into
from toolkit.numerics.boxes import BoxLayout
from toolkit.numerics.cascade import blend_into, cascade_merge, cascade_share
from toolkit.numerics.ramps import rising, tile_weights
from toolkit.numerics.window import merge, window_merge, window_share

GRIDS = [
    TileGrid.strided({"h": 23, "w": 17}, tile=8, stride=6),
    TileGrid.strided({"h": 17, "w": 13}, tile=8, stride=4),  # overlap of half a tile
    TileGrid.strided({"h": 13, "w": 13}, tile=8, stride=6),  # last tile: one cell
    TileGrid.strided({"h": 5, "w": 31}, tile=8, stride=7),  # one row
    TileGrid.strided({"h": 9, "w": 9}, tile=3, stride=3),  # no overlap
    TileGrid.strided({"h": 14, "w": 11}, tile={"h": 8, "w": 4}, stride={"h": 6, "w": 3}),
    TileGrid.cover({"h": 23, "w": 17}, tile=8, overlap=3),
]
TRIPLE = TileGrid.strided({"h": 13, "w": 11}, tile=8, stride=3)  # three tiles meet


def diffusers_merge(raw: list[torch.Tensor], grid: TileGrid, ratio: int) -> torch.Tensor:
    """The loop of diffusers' ``tiled_decode``, with its own ``blend_v`` and ``blend_h``."""
    own = AutoencoderKL()
    rows, columns = grid.shape
    overlap = [len(row[0] & row[1]) * ratio if len(row) > 1 else 0 for row in grid.rows]
    keep = [(row[1].start if len(row) > 1 else len(row[0])) * ratio for row in grid.rows]
    table = [[raw[i * columns + j].clone() for j in range(columns)] for i in range(rows)]
    result = []
    for i, row in enumerate(table):
        done = []
        for j, tile in enumerate(row):
            if i > 0:
                tile = own.blend_v(table[i - 1][j], tile, overlap[0])
            if j > 0:
                tile = own.blend_h(row[j - 1], tile, overlap[1])
            done.append(tile[:, :, : keep[0], : keep[1]])
        result.append(torch.cat(done, dim=3))
    return torch.cat(result, dim=2)


def raw_tiles(grid: TileGrid, ratio: int, dtype: torch.dtype) -> list[torch.Tensor]:
    torch.manual_seed(0)
    boxes = BoxLayout(grid.axes, (ratio,) * len(grid.axes))
    return [(torch.randn(boxes.shape((2, 3, 0, 0), tile.box)) + tile.index).to(dtype) for tile in grid.tiles]


def by_shares(raw: list[torch.Tensor], grid: TileGrid, ratio: int, finish) -> torch.Tensor:
    boxes = BoxLayout(grid.axes, (ratio,) * len(grid.axes))
    whole = tuple(Span(0, row[-1].stop) for row in grid.rows)
    canvas = raw[0].new_empty(boxes.shape(raw[0].shape, whole))
    for tile in grid.tiles:
        share = boxes.cut(canvas, tile.share_box)
        share.copy_(boxes.cut(raw[tile.index], tile.share_box, tile.box))
        edges = {
            edge.offset: boxes.cut(raw[edge.source], edge.box, grid.tiles[edge.source].box).clone()
            for edge in edges_into(grid, tile)
        }
        overlaps = tuple(
            len(row[p - 1] & row[p]) * ratio if p else 0 for row, p in zip(grid.rows, tile.position, strict=True)
        )
        finish(share, edges, boxes=boxes, overlaps=overlaps)
    return canvas


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize("grid", GRIDS[:-1], ids=repr)
def test_cascade_of_shares_is_diffusers_bit_for_bit(grid, ratio, dtype):
    raw = raw_tiles(grid, ratio, dtype)
    expected = diffusers_merge(raw, grid, ratio)
    assert grid.pairwise
    assert torch.equal(by_shares(raw, grid, ratio, cascade_share), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("grid", [*GRIDS[:-1], TRIPLE], ids=repr)
def test_cascade_of_whole_tiles_is_diffusers_bit_for_bit(grid, dtype):
    raw = raw_tiles(grid, 2, dtype)
    canvas = torch.empty_like(diffusers_merge(raw, grid, 2))
    cascade_merge((tile.clone() for tile in raw), grid, boxes=BoxLayout(grid.axes, (2, 2)), canvas=canvas)
    assert torch.equal(canvas, diffusers_merge(raw, grid, 2))


def test_cascade_weights_at_a_corner_are_not_those_of_the_window_merge():
    """Four tiles at the middle of a corner: up-left, up, left, own."""
    boxes = BoxLayout(("h", "w"), (1, 1))

    def weights(finish) -> list[float]:
        found = []
        for one in product((1, 0), repeat=2):
            pieces = {offset: torch.full((1, 1, 2, 2), float(offset == one)) for offset in product((1, 0), repeat=2)}
            share = pieces.pop((0, 0))
            finish(share, pieces, boxes=boxes, overlaps=(2, 2))
            found.append(share[0, 0, 1, 1].item())
        return found

    assert weights(cascade_share) == [0.375, 0.125, 0.25, 0.25]
    assert weights(partial(window_share, ramp="linear")) == pytest.approx([0.0625, 0.1875, 0.1875, 0.5625])


def test_the_blended_tile_only_changes_at_its_head():
    tile, before = torch.ones(1, 1, 6, 3), torch.zeros(1, 1, 6, 3)
    blend_into(tile, before, dim=-2, size=4)
    assert tile[0, 0, :, 0].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    assert not before.any()


@pytest.mark.parametrize("ramp", ["linear", "cosine", "crop"])
@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_window_by_shares_equals_window_of_whole_tiles(grid, ramp):
    raw = raw_tiles(grid, 2, torch.float64)
    shares = by_shares(raw, grid, 2, partial(window_share, ramp=ramp))
    canvas = torch.empty_like(shares)
    window_merge(raw, grid, boxes=BoxLayout(grid.axes, (2, 2)), ramp=ramp, canvas=canvas)
    assert torch.allclose(shares, canvas, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ramp", ["linear", "cosine", "crop"])
@pytest.mark.parametrize("grid", [*GRIDS, TRIPLE, TileGrid.strided({"w": 11}, tile=9, stride=1)], ids=repr)
def test_window_of_agreeing_tiles_is_their_picture(grid, ramp):
    extent = [row[-1].stop for row in grid.rows]
    picture = torch.randn(1, 2, *([1] * (2 - len(extent))), *extent, dtype=torch.float64)
    boxes = BoxLayout(grid.axes, (1,) * len(grid.axes))
    merged = merge([boxes.cut(picture, tile.box) for tile in grid.tiles], grid, ramp=ramp)
    assert torch.allclose(merged, picture, rtol=0, atol=1e-14)


@given(
    extent=st.integers(1, 90), tile=st.integers(1, 40), share=st.floats(0, 0.99), ratio=st.sampled_from([1, 2, 3, 8])
)
@settings(max_examples=200, deadline=None)
def test_weights_of_tiles_sum_to_one(extent, tile, share, ratio):
    grid = TileGrid.cover({"w": extent}, tile=tile, overlap=int(share * tile))
    for ramp in ("linear", "cosine", "crop"):
        total = torch.zeros(extent * ratio, dtype=torch.float64)
        for span, weight in zip(grid.rows[0], tile_weights(grid.rows[0], ratio, ramp=ramp), strict=True):
            total[span.start * ratio : span.stop * ratio] += weight
            assert (weight >= 0).all()
        assert torch.allclose(total, torch.ones_like(total), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 17])
@pytest.mark.parametrize("ramp", ["linear", "cosine"])
def test_ramps_are_symmetric(ramp, size):
    rise = rising(ramp, size)
    assert torch.allclose(rise + rise.flip(0), torch.ones_like(rise), rtol=0, atol=1e-15)
    assert (rise.diff() > 0).all()


def test_three_axes_merge_like_two():
    grid = TileGrid.strided({"t": 5, "h": 7, "w": 7}, tile=4, stride=3)
    boxes = BoxLayout(grid.axes, (1, 1, 1))
    picture = torch.randn(1, 2, 5, 7, 7, dtype=torch.float64)
    raw = [boxes.cut(picture, tile.box).clone() for tile in grid.tiles]
    assert torch.allclose(by_shares(raw, grid, 1, cascade_share), picture, rtol=0, atol=1e-14)
    assert torch.allclose(by_shares(raw, grid, 1, partial(window_share, ramp="linear")), picture, rtol=0, atol=1e-14)
