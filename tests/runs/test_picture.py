"""Outputs as pictures and files, whatever an autoencoder or a pipeline returned."""

from __future__ import annotations

import base64
import re
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import toolkit as tk
from toolkit.errors import PlanError
from toolkit.runs.picture import SMALL, as_sample, thumbnail
from toolkit.runs.run_tables import trace_table

VIDEO = torch.linspace(-1, 1, 3 * 5 * 8 * 12).reshape(1, 3, 5, 8, 12)
PIXELS = ((VIDEO + 1) / 2).permute(0, 2, 3, 4, 1).numpy()


def test_what_pipelines_return_is_one_sample():
    frames = [Image.fromarray((frame * 255).round().astype(np.uint8)) for frame in PIXELS[0]]
    assert torch.allclose(as_sample(PIXELS), VIDEO, atol=1e-6)
    assert torch.allclose(as_sample(PIXELS[:, 2]), VIDEO[:, :, 2], atol=1e-6)
    assert torch.allclose(as_sample([frames]), VIDEO.double(), atol=1 / 255)
    assert torch.allclose(as_sample(frames[:2]), VIDEO[0, :, :2].transpose(0, 1).double(), atol=1 / 255)
    assert as_sample(VIDEO) is VIDEO


@pytest.mark.parametrize("wrong", [None, [], "x", [1], np.zeros(3), [[torch.zeros(3)]]], ids=str)
def test_what_is_no_output_is_refused(wrong):
    with pytest.raises(PlanError, match="output="):
        as_sample(wrong)


def test_pictures_lie_side_by_side():
    both = np.asarray(tk.picture(VIDEO, PIXELS))
    assert both.shape == (8, 24, 3)
    assert np.abs(both[:, :12].astype(int) - both[:, 12:]).max() <= 1
    expected = ((VIDEO[0, :, 2] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    assert (both[:, :12] == expected).all()
    assert (np.asarray(tk.picture(VIDEO, frame=0))[0, 0] == ((VIDEO[0, :, 0, 0, 0] + 1) * 127.5).round().numpy()).all()
    assert tk.picture(VIDEO[:, :1, 0]).size == (12, 8)


@pytest.mark.parametrize(("frame", "sample"), [(5, VIDEO), (-1, VIDEO), (0.5, VIDEO), (1, VIDEO[:, :, 0])])
def test_a_frame_that_is_not_there(frame, sample):
    with pytest.raises(PlanError, match=f"frame={frame}"):
        tk.picture(sample, frame=frame)


def test_other_heights_and_shapes_are_refused():
    with pytest.raises(PlanError, match="heights must be equal"):
        tk.picture(VIDEO, VIDEO[..., :4, :])
    with pytest.raises(PlanError, match="b c h w"):
        tk.picture(VIDEO[0, 0, 0])


def test_a_small_picture_of_a_run():
    found = re.search('base64,([^"]+)" alt="([^"]+)"', thumbnail(torch.zeros(1, 3, 5, 1000, 500)))
    assert found[2] == "the middle frame of the output"
    assert Image.open(BytesIO(base64.b64decode(found[1]))).size == (SMALL // 2, SMALL)
    for nothing in (torch.zeros(1, 16, 8, 8), torch.zeros(3), None, [VIDEO]):
        assert thumbnail(nothing) == ""


def test_a_run_shows_and_saves_its_output(tmp_path):
    memory, peaks = pd.DataFrame(columns=["rank", "time", "bytes"]), pd.Series(dtype=float)
    run = tk.Run(VIDEO, trace_table([]), memory, peaks, tk.Record("", {}, {}, "", {}, 0, {}, {}, {}), None, 1.0)
    assert run._repr_html_().count("<img") == 1
    assert run.picture(frame=4).tobytes() == tk.picture(VIDEO, frame=4).tobytes()
    assert torch.equal(load_file(run.save(tmp_path / "out.safetensors"))["sample"], VIDEO)
    assert run.save(tmp_path / "out.mp4").stat().st_size > 0
    with pytest.raises(PlanError, match="ending"):
        run.save(tmp_path / "out.gif")
    with pytest.raises(PlanError, match="picture must be"):
        run.save(tmp_path / "out.png")
