"""The microscope: what is drawn is the cells themselves, and every view follows one centre."""

from __future__ import annotations

import re
from base64 import b64decode
from io import BytesIO
from math import inf, nan
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

import toolkit as tk
from toolkit.errors import PlanError
from toolkit.geometry.span import Span
from toolkit.widgets.ipywidgets_compat import WIDGET_MIME
from toolkit.widgets.microscope_view import Region, error_colours

GRID = tk.TileGrid.cover({"h": 8, "w": 12}, tile={"h": 5, "w": 12}, overlap=2)  # one seam along h, at 8 * 4 = 32
CLOSE = tk.TileGrid.cover({"h": 8, "w": 12}, tile=4)  # tiles that only touch


def comparison(grid=GRID, frames: int | None = None, channels: int = 3, seed: int = 0) -> tk.Comparison:
    """Noise against noise, with the largest error in a known cell."""
    shape = (1, channels, 64, 96) if frames is None else (1, channels, frames, 64, 96)
    one, other = torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed)) - 0.5
    return tk.compare(one, other, grid, name="tiled", reference_name="untiled")


def pictures(page: str) -> list[np.ndarray]:
    """The PNGs: reference, output, error."""
    found = re.findall(r"data:image/png;base64,([^\"]+)", page)
    return [np.asarray(Image.open(BytesIO(b64decode(data)))) for data in found]


def parsed(page: str) -> ElementTree.Element:
    return ElementTree.fromstring(re.sub(r"(<img [^>]*)>", r"\1/>", page))


def inner(picture: np.ndarray, zoom: int) -> np.ndarray:
    """The colour in the middle of each cell, away from lines that lie on borders."""
    return picture[zoom // 2 :: zoom, zoom // 2 :: zoom]


def test_each_cell_is_a_square_of_its_raw_value():
    one = comparison()
    view = tk.widgets.microscope(one, zoom=12)
    view.centre = 30, 50
    region = view.region
    assert (region.h, region.w) == (Span(20, 41), Span(40, 61))
    reference, output, error = pictures(view.html)
    for picture, sample in ((output, one.samples[0]), (reference, one.samples[1])):
        cut = sample[0, :, 20:41, 40:61].double()
        expected = torch.round((cut + 1) * 127.5).byte().permute(1, 2, 0).numpy()
        assert picture.shape == (21 * 12, 21 * 12, 3)
        assert np.array_equal(inner(picture, 12), expected)
        # Nothing but the cell itself on its pixels, away from seam and box.
        assert np.array_equal(picture[12:24, 24:36], np.broadcast_to(expected[1, 2], (12, 12, 3)))
    expected = error_colours(one.error[0, :, 20:41, 40:61].double().numpy(), view.amplification, signed=False)
    assert np.array_equal(inner(error, 12), expected)


@pytest.mark.parametrize("zoom", [1, 2, 7, 8, 32])
@pytest.mark.parametrize("centre", [(0, 0), (63, 95), (32, 48), (1, 94)])
def test_the_box_is_around_the_centre_and_the_window_stays_within_the_frame(zoom, centre):
    view = tk.widgets.microscope(comparison(), zoom=zoom)
    view.centre = centre
    region = view.region
    assert region.h.start >= 0 <= region.w.start
    assert region.h.stop <= 64
    assert region.w.stop <= 96
    assert centre[0] in range(region.h.start, region.h.stop)
    assert centre[1] in range(region.w.start, region.w.stop)
    top, left = ((c - s.start) * zoom for c, s in zip(centre, (region.h, region.w), strict=True))
    for picture in pictures(view.html):
        for y, x in ((top - 1, left), (top + zoom, left), (top, left - 1), (top, left + zoom)):
            if 0 <= y < picture.shape[0] and 0 <= x < picture.shape[1]:
                assert picture[y, x].tolist() == [255] * 3


def test_seams_are_drawn_where_they_are():
    view = tk.widgets.microscope(comparison(), zoom=8)
    view.centre = 30, 4
    row = (32 - view.region.h.start) * 8
    for picture in pictures(view.html):
        inks = {tuple(pixel) for pixel in picture[row].tolist()}
        assert inks == {(0, 0, 0), (255, 255, 255)}
        assert sum(picture[row, :, 0] == 0) in range(110, 155)
    view.zoom, view.centre = 16, (58, 4)  # the region begins behind it
    assert view.region.h.start > 32
    dashed = [
        len({tuple(pixel) for pixel in row.tolist()} - {(0, 0, 0), (255, 255, 255)}) for row in pictures(view.html)[0]
    ]
    assert min(dashed) > 0


@pytest.mark.parametrize("grid", [GRID, CLOSE])
@pytest.mark.parametrize("frames", [None, 3])
def test_a_seam_leads_to_the_largest_error_in_it(grid, frames):
    one = comparison(grid, frames)
    view = tk.widgets.microscope(one)
    assert view.seams["ratio"].is_monotonic_decreasing
    for place, row in view.seams.iterrows():
        view.controls["seam"].value = place
        h, w = view.centre
        error = one.error[0].abs().amax(0)
        here = error[h, w] if frames is None else error[view.frame, h, w]
        assert float(here) == float(row["max"]), "the largest error that the comparison names for this seam"
        assert view.controls["seam"].value == place


def test_a_seam_in_time_leads_to_its_frames():
    grid = tk.TileGrid.cover({"t": 4, "h": 8, "w": 12}, tile={"t": 2, "h": 8, "w": 12}, overlap=0)
    one = comparison(grid, frames=8)
    view = tk.widgets.microscope(one)
    (row,) = view.seams.to_dict("records")
    assert (row["axis"], row["position"]) == ("t", 4)
    assert view.frame in (3, 4)
    h, w = view.centre
    assert float(one.error[0, :, view.frame, h, w].abs().max()) == row["max"]


def test_state_can_be_read_and_set():
    view = tk.widgets.microscope(comparison(frames=3), zoom=4, amplification=100)
    view.frame, view.centre, view.zoom, view.amplification, view.shown = 2, (5, 6), 16, 3.5, "signed"
    controls = {name: control.value for name, control in view.controls.items()}
    assert controls == {
        "seam": -1, "centre_h": 5, "centre_w": 6, "zoom": 16, "amplification": 3.5, "shown": "signed", "frame": 2,
    }  # fmt: skip
    assert "frame 2, h 0:15, w 0:15 px" in view.html
    assert repr(view).startswith("Microscope(frame 2, centre (5, 6), zoom 16, amplification 3.5: |error| ")


def test_the_values_are_the_raw_ones_and_in_the_table():
    one = comparison(frames=3, channels=4)
    view = tk.widgets.microscope(one)
    view.frame, view.centre = 1, (7, 9)
    output, reference = one.samples
    assert torch.equal(torch.tensor(view.values["output"]), output[0, :, 1, 7, 9])
    assert torch.equal(torch.tensor(view.values["reference"]), reference[0, :, 1, 7, 9])
    (table,) = parsed(view.html).iter("table")
    cells = [[float("".join(cell.itertext())) for cell in row] for row in list(table.iter("tr"))[1:]]
    assert np.allclose(np.array(cells)[:, 1:], view.values.to_numpy(), rtol=1e-6, atol=0)


def test_errors_are_amplified_on_one_scale():
    error = np.array([[[0.0, 0.01, 0.02, -0.02, 5.0, nan, -inf]]])
    dark, half, full, below, *worst = error_colours(error, 50, signed=False)[0].tolist()
    assert full == below == worst[0] == worst[1] == worst[2]
    assert dark != half != full
    white, _, red, blue, *worst = error_colours(error, 50, signed=True)[0].tolist()
    assert min(white) > 240
    assert worst == [red, red, blue]
    assert red[0] > red[2]
    assert blue[2] > blue[0]


@pytest.mark.parametrize(("largest", "expected"), [(1.0, 1), (0.9, 1), (0.5, 2), (0.012, 64), (1e-9, 2**16), (0.0, 1)])
def test_amplification_begins_where_no_error_is_cut_off(largest, expected):
    sample = torch.zeros(1, 3, 16, 16, dtype=torch.float64)
    off = sample.clone()
    off[0, 0, 3, 4] = largest
    assert tk.widgets.microscope(tk.compare(off, sample)).amplification == expected


def test_moving_away_leaves_the_seam():
    view = tk.widgets.microscope(comparison())
    assert view.controls["seam"].value == 0
    view.controls["centre_w"].value = (view.centre_w + 5) % 90
    assert view.controls["seam"].label == "-"


def test_without_a_grid_it_begins_at_the_largest_error():
    one = comparison(grid=None)
    view = tk.widgets.microscope(one)
    h, w = view.centre
    assert float(one.error[0, :, h, w].abs().max()) == one.max_abs
    assert view.controls["seam"].disabled
    with pytest.raises(tk.PlanError, match="seam=0: there are 0"):
        view.go_to(0)


def test_what_is_not_there_is_refused_and_nothing_moves():
    view = tk.widgets.microscope(comparison())
    view.centre = 5, 6
    for name, value in (
        ("centre", (5, 96)),
        ("centre", (64, 5)),
        ("centre_h", 2.0),
        ("frame", 1),
        ("frame", True),
        ("zoom", 0),
        ("zoom", 33),
        ("amplification", 0.5),
        ("amplification", nan),
        ("amplification", "2"),
        ("shown", "wipe"),
    ):
        with pytest.raises(tk.PlanError, match=f"{name.removesuffix('_h')}.*="):
            setattr(view, name, value)
    assert (view.centre, view.frame, view.zoom, view.shown) == ((5, 6), 0, 8, "absolute")
    with pytest.raises(tk.PlanError, match="zoom=64"):
        tk.widgets.microscope(comparison(), zoom=64)


def test_one_drawing_for_a_move():
    view = tk.widgets.microscope(comparison(frames=3))
    drawn = []
    view._board._drawing.observe(drawn.append, names="value")
    view.centre = 11, 12
    view.go_to(0)
    assert len(drawn) == 2


def test_a_small_frame_is_seen_whole():
    assert Region.around((2, 2), 8, shape=(4, 6)) == Region(Span(0, 4), Span(0, 6), 8)
    sample = torch.zeros(1, 1, 4, 6)
    view = tk.widgets.microscope(tk.compare(sample, sample))
    assert [picture.shape for picture in pictures(view.html)] == [(32, 48, 3)] * 3


def test_the_page_is_small_the_same_twice_and_needs_nothing():
    one = comparison()
    view = tk.widgets.microscope(one)
    assert view.html == tk.widgets.microscope(one).html
    assert len(view.html) < 50_000
    assert not any(text in view.html for text in ("<script", "http:", "https:", "javascript:"))
    assert set(view._repr_mimebundle_()) == {WIDGET_MIME, "text/html", "text/plain"}
    for image in parsed(view.html).iter("img"):
        assert "frame 0, h " in image.get("alt")
    for control in view.controls.values():
        assert control.description
        assert len(control.tooltip) > 10
        assert control.tabbable


def test_a_region_has_a_zoom_of_at_least_1():
    with pytest.raises(PlanError, match="zoom=0: must be an int of at least 1"):
        Region(Span(0, 4), Span(0, 6), 0)
