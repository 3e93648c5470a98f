"""The contact sheet: any shape, and small."""

from __future__ import annotations

from io import BytesIO

import pytest
import torch
from PIL import Image
from support.reported import SHARDS, reported, video

import toolkit as tk
from toolkit.evidence.contact_sheet import GAP, LINE, MOST_BYTES, contact_sheet
from toolkit.evidence.pictures import sheet


@pytest.mark.parametrize("shape", [(1, 3, 2, 33, 47), (1, 1, 8, 8), (1, 16, 3, 12, 20), (2, 3, 5, 40, 700)])
def test_sheets_of_any_shape(shape):
    one = tk.report({"other": reported(video(1, shape), SHARDS), "same": reported(video(0, shape), SHARDS)},
                    reported(video(0, shape)))  # fmt: skip
    with Image.open(BytesIO(sheet(one.subjects[1:], "the reference").light)) as drawn:
        height = (drawn.height - GAP) / 4 - LINE - GAP
        assert height == int(height)
        across = drawn.width / (height * shape[-1] / shape[-2])
        # First, middle and last frame at least; the one with the largest error may be a fourth.
        assert min(3, shape[0] * (shape[2] if len(shape) == 5 else 1)) <= across < 4.5


def test_a_sheet_of_noise_in_full_size_is_made_smaller():
    large, other = torch.rand(1, 3, 720, 1280) * 2 - 1, torch.rand(1, 3, 720, 1280) * 2 - 1
    compared = tk.report(reported(other, SHARDS), reported(large), data_range=4.0).subjects[1:]
    assert len(contact_sheet(compared, "the model's own call", frames=[0])) < MOST_BYTES
