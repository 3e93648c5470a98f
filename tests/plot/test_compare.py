"""Pictures side by side and under a border, and sliders that need no kernel."""

from __future__ import annotations

import base64
import json
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from toolkit import plot
from toolkit.analysis.compare import Comparison, compare
from toolkit.errors import ToolkitError
from toolkit.geometry import TileGrid
from toolkit.plot.error_pixels import LEVELS, ErrorScale, pool
from toolkit.plot.frame_slider import MOST_FRAMES
from toolkit.plot.wipe import STEPS

LIMIT = 500_000


def of(error: torch.Tensor, base: float | torch.Tensor = 0.0) -> Comparison:
    reference = torch.zeros_like(error) + base
    return compare(reference + error, reference, name="tiled", reference_name="untiled")


def pixels(trace) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(trace.source.partition(",")[2]))))


def photo_video(frames: int = 17, side: int = 256, noise: float = 0.02) -> Comparison:
    """A photograph that moves, and noise: nothing that compresses well."""
    random = torch.Generator().manual_seed(0)
    still = torch.from_numpy(astronaut()[:side, 100 : 100 + side].copy()).permute(2, 0, 1).float() / 127.5 - 1
    clip = torch.stack([still.roll(4 * step, -1) for step in range(frames)], 1)[None]
    grid = TileGrid.cover({"h": side // 8, "w": side // 8}, tile=side // 16 + 2, overlap=4)
    return compare(clip + noise * torch.randn(clip.shape, generator=random), clip, grid, name="a", reference_name="b")


def shown(figure: plot.Figure) -> list[int]:
    return [place for place, trace in enumerate(figure.data) if trace.visible in (None, True)]


class TestErrorScale:
    scale = ErrorScale((1e-4, 1.0), signed=True)

    def test_zero_is_in_the_middle_and_signs_are_mirrored(self):
        errors = np.array([0.0, 1e-5, -1e-5, 0.01, -0.01, 3.0, -3.0])
        place = self.scale.place(errors)
        assert place.tolist() == [0.5, 0.5, 0.5, 0.75, 0.25, 1.0, 0.0]

    def test_nan_is_the_worst(self):
        for scale in (self.scale, ErrorScale()):
            assert scale.place(np.array([np.nan])) == 1.0

    def test_blocks_keep_what_is_largest_with_its_sign(self):
        error = torch.tensor([[1.0, -3.0, 0.5], [2.0, 0.0, -0.25]])
        assert pool(error, 2).tolist() == [[-3.0, 0.5]]
        assert pool(error, 1) is error
        assert torch.isnan(pool(torch.tensor([[1.0, torch.nan]]), 2)).all()


class TestSignedSeams:
    def test_pixels_tell_above_from_below(self):
        error = torch.zeros(1, 3, 8, 8)
        error[0, 1, 0, 0], error[0, 2, 0, 1] = 0.5, -0.5
        error[0, 0, 0, 2], error[0, 2, 0, 2] = 0.1, -0.2
        index = pixels(plot.seams(of(error), signed=True).data[0])
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
        pictures = [pixels(trace).max() for trace in figure.data if trace.type == "image"]
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


class TestCompare:
    def test_pictures_are_what_was_compared(self):
        steps = torch.linspace(-1, 1, 32)
        reference = steps.expand(1, 3, 32, 32)
        left, right, *_ = plot.compare(of(torch.full((1, 3, 32, 32), 0.25), reference)).data
        for trace, sample in ((left, reference + 0.25), (right, reference)):
            expected = ((sample[0].clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0).numpy()
            assert np.abs(pixels(trace) - expected).max() < 8, "a smooth picture survives JPEG"
        assert (left.xaxis, right.xaxis, right.yaxis) == (None, "x2", "y2")

    def test_the_difference_is_that_of_signed_seams(self):
        error = torch.zeros(1, 3, 8, 8)
        error[0, 0, 2, 3] = -0.3
        found = of(error)
        np.testing.assert_array_equal(
            pixels(plot.compare(found).data[2]), pixels(plot.seams(found, signed=True).data[0])
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
        assert pixels(figure.data[2])[0, 0] == 2 * LEVELS
        assert len(figure.to_png()) > 1000

    @pytest.mark.parametrize("mode", ["side by side", "wipe"])
    def test_a_video_is_small(self, mode):
        found = photo_video()
        figure = plot.compare(found, mode=mode)
        assert len(json.dumps(figure._repr_mimebundle_())) < LIMIT
        assert "of full size" in figure.layout.title.text
        assert figure.to_png() == plot.compare(found, mode=mode).to_png()


class TestWipe:
    def test_nothing_moves_but_the_border(self):
        figure = plot.compare(of(torch.zeros(1, 3, 30, 50)), mode="wipe")
        (slider,) = figure.layout.sliders
        assert len(slider.steps) == STEPS + 1
        for place, step in enumerate(slider.steps):
            (moved,) = step.args
            left, right = (np.array(moved[f"{axis}.domain"]) for axis in ("xaxis", "xaxis2"))
            for axis, domain in (("xaxis", left), ("xaxis2", right)):
                # As many pixels a cell on both sides, wherever the border is.
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
