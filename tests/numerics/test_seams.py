"""Seam and colour errors: synthetic errors whose place is known, and a slow oracle cell by cell."""

from itertools import pairwise, product
from math import inf

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import ToolkitError
from toolkit.geometry import Span, TileGrid
from toolkit.numerics.colour import colour_shift, without_shift
from toolkit.numerics.sample_grid import sample_grid, sample_ratio
from toolkit.numerics.seams import per_seam, seam_lines, seam_profile

GRID = TileGrid.cover({"h": 30, "w": 52}, tile=16, overlap=4)
RATIO = {"h": 8, "w": 8}
SHAPE = (1, 3, 240, 416)


def tile_box(grid: TileGrid, index: int, part: str = "core_box") -> tuple[slice, ...]:
    """A tile's box or core as slices of the sample."""
    tile = sample_grid(grid, SHAPE, ratio=RATIO).tiles[index]
    return (..., *(slice(span.start, span.stop) for span in getattr(tile, part)))


class TestSampleGrid:
    def test_scales_every_span(self):
        scaled = sample_grid(GRID, SHAPE, ratio=RATIO)
        assert scaled.rows[1] == tuple(span * 8 for span in GRID.rows[1])

    def test_causal_frames(self):
        grid = TileGrid(("t",), ((Span(0, 3), Span(2, 5)),))
        assert sample_grid(grid, (1, 3, 17, 8, 8), ratio={"t": 4}).rows == ((Span(0, 9), Span(5, 17)),)
        assert sample_grid(grid, (1, 3, 20, 8, 8), ratio={"t": 4}).rows == ((Span(0, 12), Span(8, 20)),)
        assert sample_ratio((1, 3, 17, 8, 8), grid) == {"t": 4}

    @pytest.mark.parametrize("shape", [(1, 3, 240, 415), (1, 3, 120, 416)])
    def test_a_foreign_sample_is_refused(self, shape):
        with pytest.raises(ToolkitError, match=r"do not give the sample's"):
            sample_grid(GRID, shape, ratio=RATIO)

    def test_no_whole_ratio(self):
        with pytest.raises(ToolkitError, match="axis 'w': 417 sample cells over 52 latent cells"):
            sample_ratio((1, 3, 240, 417), GRID)

    def test_time_needs_a_video(self):
        with pytest.raises(ToolkitError, match="has no axis 't'"):
            sample_ratio((1, 3, 8, 8), TileGrid.cover({"t": 4}, tile=2))


class TestProfile:
    def test_line_beside_the_seam_shows_at_its_distance_only(self):
        error = torch.zeros(SHAPE)
        lines = seam_lines(sample_grid(GRID, SHAPE, ratio=RATIO).rows[1])
        for line in lines:
            error[..., line + 2] = -0.5
        profile = seam_profile(error, GRID, axis="w", ratio=RATIO, reach=8)
        assert profile.distance == tuple(i + 0.5 for i in range(-8, 8))
        assert [level.mean for level in profile.levels] == [0.5 if d == 2.5 else 0.0 for d in profile.distance]
        assert profile.interior.max == 0.0

    def test_one_of_several_seams_counts_its_share(self):
        error = torch.zeros(SHAPE)
        first, *others = seam_lines(sample_grid(GRID, SHAPE, ratio=RATIO).rows[1])
        error[..., first] = 0.5
        profile = seam_profile(error, GRID, axis="w", ratio=RATIO)
        at = dict(zip(profile.distance, profile.levels, strict=True))
        assert at[0.5].mean == pytest.approx(0.5 / (1 + len(others)))
        assert at[0.5].max == 0.5
        assert at[-0.5].max == 0.0

    def test_a_line_on_one_axis_is_no_bump_on_the_other(self):
        error = torch.zeros(SHAPE)
        for line in seam_lines(sample_grid(GRID, SHAPE, ratio=RATIO).rows[0]):
            error[..., line, :] = 0.5
        across = seam_profile(error, GRID, axis="w", ratio=RATIO)
        assert {level.mean for level in across.levels} == {across.interior.mean}

    def test_constant_error_is_flat_and_meets_the_interior(self):
        profile = seam_profile(torch.full(SHAPE, -0.25), GRID, axis="h", ratio=RATIO)
        assert {level.mean for level in (*profile.levels, profile.interior)} == {0.25}

    @settings(max_examples=25, deadline=None)
    @given(
        extent=st.integers(2, 23),
        tile=st.integers(2, 9),
        stride=st.integers(1, 9),
        ratio=st.sampled_from([1, 2, 3]),
        seed=st.integers(0, 9),
    )
    def test_equals_an_oracle_cell_by_cell(self, extent, tile, stride, ratio, seed):
        grid = TileGrid.strided({"w": extent}, tile, min(stride, tile))
        if len(grid) < 2:
            return
        error = torch.randn(2, 2, 3, extent * ratio, generator=torch.Generator().manual_seed(seed))
        profile = seam_profile(error, grid, axis="w", ratio={"w": ratio})
        spans = [(span.start * ratio, span.stop * ratio) for span in grid.rows[0]]
        lines = [(a[1] + b[0]) // 2 for a, b in pairwise(spans)]
        found: dict[float, list[float]] = {}
        for place in range(extent * ratio):
            nearest = min(lines, key=lambda line: (abs(place + 0.5 - line), line))
            values = error[..., place].abs().flatten().tolist()
            found.setdefault(place + 0.5 - nearest, []).extend(values)
        assert profile.distance == tuple(sorted(found))
        for distance, level in zip(profile.distance, profile.levels, strict=True):
            values = np.array(found[distance])
            assert level.mean == pytest.approx(values.mean())
            assert level.p99 == pytest.approx(np.quantile(values, 0.99, method="inverted_cdf"))
            assert level.max == pytest.approx(values.max())
        middle = sorted(abs(p + 0.5 - min(lines, key=lambda x: abs(p + 0.5 - x))) for p in range(extent * ratio))
        floor = middle[(len(middle) - 1) // 2]
        inside = np.concatenate([np.array(v) for d, v in found.items() if abs(d) >= floor])
        assert profile.interior.mean == pytest.approx(inside.mean())

    def test_time_axis(self):
        grid = TileGrid.cover({"t": 5}, tile=3, overlap=1)
        error = torch.zeros(1, 3, 17, 8, 8)
        line = seam_lines(sample_grid(grid, error.shape, ratio={"t": 4}).rows[0])[0]
        error[:, :, line] = 1.0
        profile = seam_profile(error, grid, axis="t", ratio={"t": 4})
        assert [d for d, level in zip(profile.distance, profile.levels, strict=True) if level.max] == [0.5]

    @pytest.mark.parametrize("axis", ["h", "t"])
    def test_an_axis_without_a_seam_is_refused(self, axis):
        with pytest.raises(ToolkitError, match="has no seam"):
            seam_profile(
                torch.zeros(1, 3, 8, 16), TileGrid.cover({"h": 8, "w": 16}, tile=8), axis=axis, ratio={"h": 1, "w": 1}
            )

    def test_reach_is_checked(self):
        with pytest.raises(ToolkitError, match="reach=0"):
            seam_profile(torch.zeros(SHAPE), GRID, axis="w", ratio=RATIO, reach=0)


class TestPerSeam:
    def test_figures_of_one_seam(self):
        error = torch.zeros(SHAPE)
        scaled = sample_grid(GRID, SHAPE, ratio=RATIO)
        place = 3
        box = (..., *(slice(span.start, span.stop) for span in scaled.seams[place].box))
        error[box] = -0.5
        error[box][0, 0, 0, 0] = 0.75
        found = per_seam(error, GRID, ratio=RATIO)
        assert len(found) == len(GRID.seams)
        assert [seam.tiles for seam in found] == [seam.tiles for seam in GRID.seams]
        cells = error[box].numel()
        assert found[place].mean == pytest.approx((0.5 * (cells - 1) + 0.75) / cells)
        assert found[place].max == 0.75
        assert found[place].ratio == inf
        assert found[place].position == (scaled.seams[place].span.start + scaled.seams[place].span.stop) // 2

    def test_constant_error_has_ratio_one_everywhere(self):
        assert {seam.ratio for seam in per_seam(torch.full(SHAPE, 0.25), GRID, ratio=RATIO)} == {1.0}

    def test_no_error_has_ratio_one(self):
        assert {(seam.mean, seam.ratio) for seam in per_seam(torch.zeros(SHAPE), GRID, ratio=RATIO)} == {(0.0, 1.0)}

    def test_tiles_that_only_touch_are_judged_beside_their_line(self):
        error = torch.zeros(1, 1, 4, 12)
        error[..., 5:7] = torch.tensor([1.0, 0.5])
        (seam,) = per_seam(error, TileGrid.cover({"w": 12}, tile=6), ratio={"w": 1})
        assert (seam.position, seam.mean, seam.max) == (6, 0.75, 1.0)

    def test_one_tile_has_no_seams(self):
        assert per_seam(torch.ones(1, 1, 8, 8), TileGrid.cover({"h": 8, "w": 8}, tile=8), ratio={"h": 1, "w": 1}) == ()

    def test_three_tiles_at_one_place_and_slivers(self):
        grid = TileGrid.strided({"h": 11, "w": 13}, tile=8, stride=1)
        error = torch.ones(1, 1, 11, 13)
        assert {(s.mean, s.ratio) for s in per_seam(error, grid, ratio={"h": 1, "w": 1})} == {(1.0, 1.0)}
        assert (colour_shift(error, torch.zeros_like(error), grid) == 1.0).all()


class TestColour:
    """A tile of another colour is no line, and a line is no other colour."""

    @pytest.mark.parametrize("part", ["core_box", "box"])
    def test_brighter_tile_is_a_shift_and_leaves_nothing_at_its_seams(self, part):
        error = torch.zeros(SHAPE)
        error[tile_box(GRID, 5, part)] = 0.125
        shifts = colour_shift(error, torch.zeros(SHAPE), GRID, RATIO)
        expected = torch.zeros(len(GRID), 3)
        expected[5] = 0.125
        assert torch.equal(shifts, expected)
        assert max(seam.residual for seam in per_seam(error, GRID, ratio=RATIO)) == 0.0
        assert max(seam.mean for seam in per_seam(error, GRID, ratio=RATIO)) > 0.0

    def test_ramp_between_two_colours_leaves_nothing(self):
        grid = TileGrid.cover({"w": 8}, tile=5, overlap=2)
        error = torch.cat([torch.zeros(24), torch.linspace(0, 0.5, 16), torch.full((24,), 0.5)]).expand(1, 3, 4, 64)
        assert without_shift(error, grid, ratio={"w": 8}).abs().max() == 0.0

    @pytest.mark.parametrize("axis", ["h", "w"])
    def test_thin_line_at_a_seam_is_no_shift_and_stays_whole(self, axis):
        error = torch.zeros(SHAPE)
        row = dict(zip(GRID.axes, sample_grid(GRID, SHAPE, ratio=RATIO).rows, strict=True))[axis]
        dim = {"h": -2, "w": -1}[axis]
        for line in seam_lines(row):
            error.narrow(dim, line - 1, 2).fill_(0.5)
        assert (colour_shift(error, torch.zeros(SHAPE), GRID, RATIO) == 0.0).all()
        assert torch.equal(without_shift(error, GRID, ratio=RATIO), error)
        wide = {seam.tiles: len(seam.span) * 8 for seam in GRID.seams}
        for seam in per_seam(error, GRID, ratio=RATIO):
            assert seam.residual == seam.mean
            if seam.axis == axis:
                assert seam.mean == pytest.approx(2 * 0.5 / wide[seam.tiles])

    def test_both_at_once_come_apart(self):
        error = torch.zeros(SHAPE)
        error[tile_box(GRID, 0)] = 0.25
        line = seam_lines(sample_grid(GRID, SHAPE, ratio=RATIO).rows[1])[0]
        error[..., line] += 0.5
        shifts = colour_shift(error, torch.zeros(SHAPE), GRID, RATIO)
        assert shifts[0].tolist() == [0.25] * 3
        assert shifts[1:].abs().max() == 0.0
        left = without_shift(error, GRID, ratio=RATIO)
        assert torch.count_nonzero(left.sum((0, 1, 2))).item() == 1
        assert left[0, 0, -1, line] == 0.5

    def test_sign_and_channel_are_kept(self):
        a = torch.zeros(2, 3, 2, 8, 16)
        a[:, 1, :, :, 8:] = -0.5
        shifts = colour_shift(a, torch.zeros_like(a), TileGrid.cover({"w": 16}, tile=8))
        assert shifts.tolist() == [[0, 0, 0], [0, -0.5, 0]]

    def test_without_a_grid_the_whole_is_one_tile(self):
        a = torch.zeros(1, 3, 5, 8, 8)
        assert torch.equal(colour_shift(a + 0.5, a), torch.full((1, 3), 0.5))

    def test_noise_without_a_shift_is_near_zero(self):
        noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
        assert colour_shift(noise, torch.zeros(SHAPE), GRID, RATIO).abs().max() < 0.06

    def test_residual_equals_an_oracle_cell_by_cell(self):
        grid = TileGrid.strided({"h": 7, "w": 11}, tile=5, stride=3)
        error = torch.randn(1, 2, 7, 11, generator=torch.Generator().manual_seed(3))
        shifts = colour_shift(error, torch.zeros_like(error), grid)
        left = without_shift(error, grid, ratio={"h": 1, "w": 1})
        for c, y, x in product(range(2), range(7), range(11)):
            here = [float(shifts[tile.index, c]) for tile in grid.tiles if y in tile.box[0] and x in tile.box[1]]
            value = float(error[0, c, y, x])
            assert float(left[0, c, y, x]) == pytest.approx(value - min(max(value, min(here)), max(here)), abs=1e-7)

    def test_does_not_write_to_its_input(self):
        error = torch.randn(SHAPE)
        kept = error.clone()
        per_seam(error, GRID, ratio=RATIO)
        assert torch.equal(error, kept)
