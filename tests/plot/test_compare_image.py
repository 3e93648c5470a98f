"""An output beside its reference, with a slider that needs no kernel."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from support.plotted import LIMIT, of, photo_video, trace_pixels

from toolkit import plot
from toolkit.analysis.compare import compare
from toolkit.errors import ToolkitError
from toolkit.plot.error_pixels import LEVELS


class TestCompare:
    def test_pictures_are_what_was_compared(self):
        steps = torch.linspace(-1, 1, 32)
        reference = steps.expand(1, 3, 32, 32)
        left, right, *_ = plot.compare(of(torch.full((1, 3, 32, 32), 0.25), reference)).data
        for trace, sample in ((left, reference + 0.25), (right, reference)):
            expected = ((sample[0].clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0).numpy()
            assert np.abs(trace_pixels(trace) - expected).max() < 8, "a smooth picture survives JPEG"
        assert (left.xaxis, right.xaxis, right.yaxis) == (None, "x2", "y2")

    def test_the_difference_is_that_of_signed_seams(self):
        error = torch.zeros(1, 3, 8, 8)
        error[0, 0, 2, 3] = -0.3
        found = of(error)
        np.testing.assert_array_equal(
            trace_pixels(plot.compare(found).data[2]), trace_pixels(plot.seams(found, signed=True).data[0])
        )

    def test_zoom_is_linked(self):
        layout = plot.compare(of(torch.zeros(1, 3, 8, 8))).layout
        assert [layout[f"xaxis{number}"].matches for number in (2, 3)] == ["x", "x"]
        assert [layout[f"yaxis{number}"].matches for number in (2, 3)] == ["y", "y"]
        assert layout.yaxis.scaleanchor == "x"

    def test_the_frame_that_differs_most_is_shown_at_first(self):
        error = torch.zeros(1, 3, 40, 8, 8)
        error[:, :, 8] = 0.5
        figure = plot.compare(of(error))
        (slider,) = figure.layout.sliders
        assert slider.steps[slider.active].label == "8"
        assert len(slider.steps) == 13
        assert "Frame 8: largest difference 0.5" in figure.layout.title.text
        assert figure.to_dataframe()["frame"].tolist() == [int(step.label) for step in slider.steps]

    def test_runs_and_tensors_with_a_reference(self, run):
        a = torch.zeros(1, 3, 8, 8)
        assert plot.compare(a, a).describe() == plot.compare(compare(a, a)).describe()
        for wrong in ((a,), (compare(a, a), a), (run,)):
            with pytest.raises(ToolkitError, match="compare takes either one comparison"):
                plot.compare(*wrong)
        with pytest.raises(ToolkitError, match="mode='blink'"):
            plot.compare(a, a, mode="blink")

    def test_other_channels_and_nan_are_drawn(self):
        a = torch.zeros(1, 4, 8, 8)
        b = a.clone()
        b[0, 0, 0, 0] = torch.nan
        figure = plot.compare(b, a)
        assert trace_pixels(figure.data[2])[0, 0] == 2 * LEVELS
        assert len(figure.to_png()) > 1000

    @pytest.mark.parametrize("mode", ["side by side", "wipe"])
    def test_a_video_is_small(self, mode):
        found = photo_video()
        figure = plot.compare(found, mode=mode)
        assert len(json.dumps(figure._repr_mimebundle_())) < LIMIT
        assert "of full size" in figure.layout.title.text
        assert figure.to_png() == plot.compare(found, mode=mode).to_png()
