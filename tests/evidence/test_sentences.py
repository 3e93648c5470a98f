"""What a report says about exactness and missing measures."""

from __future__ import annotations

from math import inf

import torch
from support.reported import SHARDS, reported, video

import toolkit as tk


def test_one_bit_is_not_identical(whole):
    output = video()
    output[0, 1, 3, 17, 5] = torch.nextafter(output[0, 1, 3, 17, 5], torch.tensor(inf))
    off = float((output - video()).abs().max())
    assert 0 < off < 1e-7
    made = tk.report({"same": reported(video(), SHARDS), "a bit off": reported(output, SHARDS)}, whole)
    assert made.to_dataframe()["identical"].tolist() == ["the reference", "yes", "no"]
    text = made.to_markdown()
    assert "same (exact shards: the untiled call, to rounding): identical to the model's own call." in text
    name = "a bit off (exact shards: the untiled call, to rounding)"
    assert f"{name}: largest difference {off:.3g} in frame 3, PSNR" in text


def test_what_is_no_picture_has_no_flip():
    shape = (1, 16, 12, 20)
    made = tk.report({"latent": reported(video(1, shape), SHARDS)}, reported(video(0, shape)))
    assert "FLIP" not in made.to_dataframe()
    assert "FLIP was not computed" in made.to_markdown()
