"""Two pictures under a border that moves without a kernel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.plotted import of, shown

from toolkit import plot
from toolkit.plot.wipe import STEPS


class TestWipe:
    def test_nothing_moves_but_the_border(self):
        figure = plot.compare(of(torch.zeros(1, 3, 30, 50)), mode="wipe")
        (slider,) = figure.layout.sliders
        assert len(slider.steps) == STEPS + 1
        for place, step in enumerate(slider.steps):
            (moved,) = step.args
            left, right = (np.array(moved[f"{axis}.domain"]) for axis in ("xaxis", "xaxis2"))
            for axis, domain in (("xaxis", left), ("xaxis2", right)):
                # Cells are equally wide on both sides, wherever the border is.
                assert np.diff(moved[f"{axis}.range"]) / np.diff(domain) == pytest.approx(50, rel=1e-2)
            assert left[1] == right[0] == moved["shapes[0].x0"] == moved["shapes[0].x1"]
            assert (left[0], right[1]) == (0, 1)
            assert moved["xaxis.range"][1] == moved["xaxis2.range"][0] == pytest.approx(50 * place / STEPS, abs=0.11)
        middle = slider.steps[slider.active].args[0]
        assert list(figure.layout.xaxis.domain) == middle["xaxis.domain"]

    def test_pixels_are_square(self):
        for shape in ((30, 50), (50, 30)):
            layout = plot.compare(of(torch.zeros(1, 3, *shape)), mode="wipe").layout
            margin = layout.margin
            wide = (layout.width - margin.l - margin.r) * layout.xaxis2.domain[1] / shape[1]
            high = (layout.height - margin.t - margin.b) / shape[0]
            assert wide == pytest.approx(high, rel=0.01)

    def test_frames_have_a_slider_of_their_own(self):
        figure = plot.compare(of(torch.zeros(1, 3, 3, 8, 8)), mode="wipe", frame=1)
        border, frame = figure.layout.sliders
        assert frame.pad.t > border.pad.t
        assert shown(figure) == [2, 3]
        assert [at for at, on in enumerate(frame.steps[2].args[0]["visible"]) if on] == [4, 5]
