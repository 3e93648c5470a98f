"""Attention in blocks is attention; masks held by frames are the masks that the models build."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.autoencoders import autoencoder_kl_hunyuan_video as hunyuan
from diffusers.models.autoencoders import autoencoder_kl_hunyuanvideo15 as hunyuan15
from torch.nn.functional import scaled_dot_product_attention

from toolkit.numerics.frame_masks import FrameMask, frame_causal_mask, pairs_of_frames
from toolkit.numerics.running_attention import QUERIES, RunningAttention


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cuts", [(7,), (1, 6), (3, 3, 1), (1, 1, 1, 1, 3)])
def test_however_the_keys_are_cut(cuts, dtype):
    q, k, v = torch.randn(3, 2, 3, 7, 4, generator=torch.Generator().manual_seed(0)).mul(4).to(dtype)
    running = RunningAttention(q, 4)
    for key, value in zip(k.split(cuts, -2), v.split(cuts, -2), strict=True):
        running.add(key, value)
    whole = scaled_dot_product_attention(q.double(), k.double(), v.double())
    assert running.result().dtype == dtype
    bound = {torch.float64: 1e-13, torch.float32: 3e-6, torch.bfloat16: 4e-2}[dtype]
    assert float((running.result() - whole).abs().max()) < bound


def test_large_scores_do_not_overflow_and_many_queries_are_taken_in_parts():
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(1, 1, n, 8, generator=generator) * 60 for n in (QUERIES + 3, 5, 5))
    running = RunningAttention(q, 8, scale=1.0)
    running.add(k[..., :2, :], v[..., :2, :])
    running.add(k[..., 2:, :], v[..., 2:, :])
    whole = scaled_dot_product_attention(q, k, v, scale=1.0)
    assert torch.allclose(running.result(), whole, atol=1e-3)


@pytest.mark.parametrize(("frames", "cells"), [(1, 4), (3, 2), (4, 6)])
def test_held_by_frames_is_the_mask_that_the_model_builds(frames, cells):
    own = hunyuan15.HunyuanVideo15AttnBlock.prepare_causal_attention_mask(frames, cells, torch.float32, "cpu", 2)
    held = frame_causal_mask(frames, cells, dtype=torch.float32, device="cpu", batch_size=2)
    spread = held.frames.repeat_interleave(cells, 0).repeat_interleave(cells, 1)
    assert held.shape == own.shape
    assert torch.equal(spread.expand_as(own), own)


def test_the_arithmetic_of_the_older_model_leads_to_the_same_frames():
    frames, cells = 3, 4
    own = hunyuan.prepare_causal_attention_mask(frames, cells, torch.float32, torch.device("cpu"), batch_size=2)
    numbers = torch.arange(1, frames + 1, dtype=torch.int32).repeat_interleave(cells)
    x, y = pairs_of_frames(numbers, numbers)
    mask = torch.where(x <= y, 0, -float("inf")).to(dtype=torch.float32).unsqueeze(0).expand(2, -1, -1)
    assert isinstance(mask, FrameMask)
    assert mask.shape == own.shape
    assert torch.equal(mask.frames.repeat_interleave(cells, 0).repeat_interleave(cells, 1), own[0])


def test_what_is_no_frame_number_stays_what_it_is():
    for numbers in (torch.arange(6), torch.tensor([1, 1, 2]), torch.ones(4), torch.ones(2, 2, dtype=torch.int32)):
        assert pairs_of_frames(numbers, numbers) is None
    with pytest.raises(NotImplementedError, match="softmax"):
        frame_causal_mask(2, 3).softmax(-1)
