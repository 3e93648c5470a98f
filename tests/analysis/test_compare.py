"""Comparisons of runs and tensors."""

import pickle
from math import inf, isnan

import pandas as pd
import pytest
import torch

from toolkit.analysis.compare import Comparison, compare
from toolkit.errors import ToolkitError
from toolkit.geometry import Assignment, Blend, TileGrid, TilePlan
from toolkit.numerics.metrics import max_abs, psnr, ssim
from toolkit.runs.record import Record
from toolkit.runs.run import Run

GRID = TileGrid.cover({"h": 12, "w": 20}, tile=8, overlap=2)
SHAPE = (1, 3, 5, 48, 80)
RECORD = Record("", {}, {}, "", {}, 0, {}, {}, {})


def run_of(output: torch.Tensor, plan: TilePlan | None) -> Run:
    nothing = pd.DataFrame()
    return Run(output, nothing, nothing, pd.Series(dtype=float), RECORD, plan, 1.0)


def plan(ranks: int = 2) -> TilePlan:
    return TilePlan(GRID, Blend.linear(), Assignment.balanced(GRID, ranks))


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    a = torch.randn(SHAPE, generator=random) * 0.3
    return a, a + 0.02 * torch.randn(SHAPE, generator=random)


def test_figures_are_those_of_the_metrics(pair):
    found = compare(*pair)
    assert found.max_abs == max_abs(*pair)
    assert found.psnr == pytest.approx(psnr(*pair), rel=1e-13)
    assert found.ssim == pytest.approx(ssim(*pair), rel=1e-13)
    assert torch.equal(found.error, pair[0] - pair[1])
    assert not found.identical


def test_per_frame(pair):
    table = compare(*pair).per_frame
    assert table.columns.tolist() == ["frame", "max_abs", "psnr", "ssim"]
    assert table["frame"].tolist() == [0, 1, 2, 3, 4]
    assert table["psnr"][3] == pytest.approx(psnr(pair[0][:, :, 3], pair[1][:, :, 3]))


def test_runs_bring_their_grid_and_names(pair):
    found = compare(run_of(pair[0], plan()), run_of(pair[1], None))
    assert (found.name, found.reference) == ("6 tiles over 2 ranks, Blend.linear()", "the model's own call")
    assert found.grid == GRID
    assert found.ratio == {"h": 4, "w": 4}
    assert len(found.per_seam) == len(GRID.seams)
    columns = ["axis", "position", "tiles", "mean", "max", "ratio", "residual"]
    assert found.per_seam.columns.tolist() == columns
    assert found.worst_seam == found.per_seam["ratio"].max()


def test_a_tiled_reference_says_so(pair):
    """Equal to another tiled decode says nothing about the untiled one."""
    found = compare(run_of(pair[0], plan(2)), run_of(pair[0], plan(3)))
    assert found.identical
    assert "vs 6 tiles over 3 ranks" in repr(found)


def test_tensors_without_names_are_called_unnamed(pair):
    assert "vs an unnamed reference" in repr(compare(*pair))


def test_given_names_and_grid_win(pair):
    other = TileGrid.cover({"h": 12, "w": 20}, tile=12)
    found = compare(run_of(pair[0], plan()), pair[1], other, name="mine", reference_name="theirs")
    assert (found.name, found.reference, found.grid) == ("mine", "theirs", other)


def test_identical(pair):
    found = compare(pair[0], pair[0].clone(), GRID)
    assert (found.identical, found.max_abs, found.psnr, found.ssim) == (True, 0.0, inf, 1.0)
    assert (found.colour_shift, found.worst_seam) == (0.0, 1.0)
    assert "identical" in found._repr_html_()


def test_the_last_bit_is_not_identical():
    a = torch.ones(1, 3, 8, 8)
    b = a.clone()
    b[0, 0, 0, 0] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    found = compare(a, b)
    assert not found.identical
    assert found.max_abs == 2**-23


def test_nan_is_neither_identical_nor_hidden(pair):
    a, b = pair[0].clone(), pair[1].clone()
    a[0, 0, 2, 5, 5] = b[0, 0, 2, 5, 5] = torch.nan
    found = compare(a, a)
    assert not found.identical
    assert isnan(found.max_abs)
    assert isnan(compare(a, b).psnr)


def test_without_a_grid_there_are_no_seams(pair):
    found = compare(*pair)
    assert found.per_seam is None
    assert found.worst_seam is None
    with pytest.raises(ToolkitError, match="no grid"):
        found.seam_profile("w")


def test_one_tile_has_an_empty_seam_table(pair):
    found = compare(*pair, TileGrid.cover({"h": 12, "w": 20}, tile=20))
    assert found.per_seam.empty
    assert found.worst_seam is None


def test_colour_shift_is_the_largest_in_absolute_value():
    a = torch.zeros(1, 3, 48, 80)
    b = a.clone()
    b[:, 2, :, :20] = 0.5
    found = compare(a, b, TileGrid.cover({"h": 12, "w": 20}, tile={"h": 12, "w": 5}))
    assert found.colour_shift == 0.5
    worst = found.per_tile.loc[found.per_tile["shift"].abs().idxmax()]
    assert worst.to_dict() == {"tile": 0, "channel": 2, "shift": -0.5}


def test_bfloat16_errors_are_not_rounded():
    a = torch.full((1, 1, 8, 8), 256.0, dtype=torch.bfloat16)
    found = compare(a, torch.full_like(a, 1.0), data_range=256.0)
    assert found.error.unique().tolist() == [255.0]


def test_dataframe_and_html(pair):
    found = compare(*pair, GRID, name="<tiled>", reference_name="whole & untiled")
    (row,) = found.to_dataframe().to_dict("records")
    assert row["reference"] == "whole & untiled"
    assert row["psnr"] == found.psnr
    html = found._repr_html_()
    assert html == compare(*pair, GRID, name="<tiled>", reference_name="whole & untiled")._repr_html_()
    assert "&lt;tiled&gt;" in html
    assert "whole &amp; untiled" in html
    assert not any(word in html for word in ("<script", "id=", "color"))
    assert len(html) < 2000
    assert "\n" not in repr(found)


def test_pickles(pair):
    found = compare(*pair, GRID)
    again: Comparison = pickle.loads(pickle.dumps(found))
    assert repr(again) == repr(found)
    assert torch.equal(again.error, found.error)


def test_refusals(pair):
    a, b = pair
    with pytest.raises(ToolkitError, match=r"shapes .* differ"):
        compare(a, b[..., 1:])
    with pytest.raises(ToolkitError, match=r"output is torch.float32 and the reference torch.float64: .*reference.to"):
        compare(a, b.double())
    with pytest.raises(ToolkitError, match="the reference is of type ndarray, but must be a Run or a Tensor"):
        compare(a, b.numpy())
    with pytest.raises(ToolkitError, match="not a whole ratio"):
        compare(a, b, TileGrid.cover({"h": 13, "w": 20}, tile=8))


@pytest.mark.parametrize("data_range", [0.0, -1.0, float("nan")])
def test_the_data_range_is_positive(pair, data_range):
    with pytest.raises(ToolkitError, match=r"data_range=.*: must be above 0"):
        compare(*pair, data_range=data_range)
