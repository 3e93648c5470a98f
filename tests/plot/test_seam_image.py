"""Errors as pictures with their seams."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from support.plotted import GRID, LIMIT, comparison, of, photo_video, pixels, shown, trace_pixels, weight

from toolkit import plot
from toolkit.analysis.compare import compare
from toolkit.errors import ToolkitError
from toolkit.plot.error_pixels import LEVELS
from toolkit.plot.frame_slider import MOST_FRAMES
from toolkit.plot.seam_image import LIMITS


class TestSeams:
    def test_pixels_are_the_log_of_the_largest_error_over_channels(self):
        found = comparison()
        expected = found.error[0].abs().amax(0).double().numpy()
        low, high = np.log10(LIMITS)
        place = ((np.log10(expected) - low) / (high - low)).clip(0, 1) * (LEVELS - 1)
        np.testing.assert_array_equal(pixels(plot.seams(found)), np.rint(place))

    def test_range_is_fixed_and_named(self):
        bars = [t for t in plot.seams(comparison(0.5)).data if t.type == "scatter"]
        quiet = [t for t in plot.seams(comparison(1e-6)).data if t.type == "scatter"]
        assert (bars[0].marker.cmin, bars[0].marker.cmax) == (quiet[0].marker.cmin, quiet[0].marker.cmax) == (-4, 0)
        assert list(bars[0].marker.colorbar.ticktext) == ["≤ 0.0001", "0.001", "0.01", "0.1", "≥ 1"]
        assert bars[0].marker.colorbar.title.text == "|error|"

    def test_seam_lines_in_sample_cells(self):
        shapes = plot.seams(comparison()).layout.shapes
        lines = [shape for shape in shapes if shape.type == "line"]
        assert [(s.x0, s.x1) for s in lines if s.x0 == s.x1] == [
            ((a.stop + b.start) * 2,) * 2 for a, b in pairwise(GRID.rows[1])
        ]
        assert len(lines) == 3

    def test_no_error_and_nan(self):
        a = torch.zeros(1, 3, 16, 16)
        assert (pixels(plot.seams(compare(a, a))) == 0).all()
        b = a.clone()
        b[0, 1, 3, 4] = torch.nan
        shown = pixels(plot.seams(compare(b, a)))
        assert shown[3, 4] == LEVELS - 1
        assert shown.sum() == LEVELS - 1

    def test_frames_of_a_video(self):
        video = torch.zeros(2, 3, 3, 16, 16)
        video[1, :, 1] = 0.1
        found = compare(video, torch.zeros_like(video))
        assert pixels(plot.seams(found, 4)).min() > 0
        assert pixels(plot.seams(found, 3)).max() == 0
        with pytest.raises(ToolkitError, match=r"frame=6: must lie in 0..5"):
            plot.seams(found, 6)

    @pytest.mark.parametrize("limits", [(0, 1), (1, 0.1), (-1, 1)])
    def test_limits_are_checked(self, limits):
        with pytest.raises(ToolkitError, match="limits="):
            plot.seams(comparison(), limits=limits)

    def test_a_noisy_720p_frame_is_small_and_keeps_a_thin_line(self):
        random = torch.Generator().manual_seed(0)
        error = 10 ** (torch.rand(1, 1, 720, 1280, generator=random) * 3 - 4)
        error[..., 640] = 1.0
        found = compare(error, torch.zeros_like(error))
        figure = plot.seams(found)
        assert weight(figure) < LIMIT
        image = figure.data[0]
        assert image.dx > 1
        assert (pixels(figure)[:, 640 // image.dx] == LEVELS - 1).all()
        assert f"{image.dx} x {image.dx} px" in figure.layout.title.text

    def test_hover_never_misses_the_largest_error(self):
        found = comparison()
        cells = next(trace for trace in plot.seams(found).data if trace.type == "heatmap")
        assert cells.z.max() == pytest.approx(found.max_abs, rel=1e-6)
        assert cells.opacity == 0


class TestSignedSeams:
    def test_pixels_tell_above_from_below(self):
        error = torch.zeros(1, 3, 8, 8)
        error[0, 1, 0, 0], error[0, 2, 0, 1] = 0.5, -0.5
        error[0, 0, 0, 2], error[0, 2, 0, 2] = 0.1, -0.2
        index = trace_pixels(plot.seams(of(error), signed=True).data[0])
        assert index.max() < 2 * LEVELS + 1
        assert index[1, 1] == LEVELS
        assert index[0, 0] - LEVELS == LEVELS - index[0, 1] > 0
        assert index[0, 2] < LEVELS, "the sign of the largest"

    def test_colour_bar(self):
        bar = plot.seams(of(torch.zeros(1, 3, 8, 8)), signed=True).data[-1].marker
        assert list(bar.colorbar.ticktext) == [
            "-1",
            "-0.1",
            "-0.01",
            "-0.001",
            "< 0.0001",
            "+0.001",
            "+0.01",
            "+0.1",
            "+1",
        ]
        assert (bar.cmin, bar.cmax, bar.colorbar.tickvals[4]) == (-1, 1, 0)

    def test_a_slider_shows_one_frame_at_a_time(self):
        error = torch.zeros(1, 3, 4, 8, 8) + torch.arange(4).view(-1, 1, 1) * 0.1
        figure = plot.seams(of(error), 2, frames=[0, 2, 3])
        assert shown(figure) == [2, 3, 6]
        assert "frame 2" in figure.layout.title.text
        (slider,) = figure.layout.sliders
        assert (slider.active, [step.label for step in slider.steps]) == (1, ["0", "2", "3"])
        for place, step in enumerate(slider.steps):
            visible, title = step.args
            assert [at for at, on in enumerate(visible["visible"]) if on] == [2 * place, 2 * place + 1, 6]
            assert f"frame {step.label}" in title["title.text"]
        pictures = [trace_pixels(trace).max() for trace in figure.data if trace.type == "image"]
        assert pictures[0] == 0
        assert pictures == sorted(pictures)

    def test_frames_are_checked(self):
        found = of(torch.zeros(1, 3, 2, 8, 8))
        with pytest.raises(ToolkitError, match=r"frame=2: must lie in 0..1"):
            plot.seams(found, frames=[0, 2])
        with pytest.raises(ToolkitError, match="0 frames: a figure holds 1 to 48"):
            plot.seams(found, frames=[])
        with pytest.raises(ToolkitError, match=f"{MOST_FRAMES + 1} frames"):
            plot.seams(of(torch.zeros(1, 1, MOST_FRAMES + 1, 8, 8)), frames=range(MOST_FRAMES + 1))

    def test_a_video_is_small(self):
        figure = plot.seams(photo_video(), frames=range(17), signed=True)
        assert len(json.dumps(figure._repr_mimebundle_())) < LIMIT
