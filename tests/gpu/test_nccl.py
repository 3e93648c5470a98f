"""Every mode on NCCL, with two ranks on one card or on two; a few bytes and 64 MB in a message."""

from __future__ import annotations

import time

import pytest
import torch
from support import tiny
from support.posted import recorded

import toolkit as tk
from toolkit.distributed.comm.queue_check import check_queues
from toolkit.models.transformers.layers import layers_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

ROUNDING = 2e-3
"""Relative to the largest value: cuDNN's convolutions round to TF32 unless told otherwise."""


@pytest.fixture(scope="module")
def two():
    with tk.Cluster(2, "cuda", backend="nccl") as cluster:
        yield cluster


def close(run: tk.Run, whole: tk.Run) -> bool:
    return bool((run.output - whole.output).abs().max() <= ROUNDING * whole.output.abs().max())


def test_it_says_what_it_is(two):
    shared = torch.cuda.device_count() < 2
    assert "nccl" in repr(two)
    assert ("share a card" in repr(two)) == shared


GRID = tk.TileGrid.cover({"h": 20, "w": 20}, tile=8, overlap=2)
PLANS = {
    "shares": tk.TilePlan(GRID, tk.Blend.linear(), tk.Assignment.round_robin(GRID, 2)),
    "shards": tk.ShardPlan(h=2),
    "ring": tk.ShardPlan(h=2, attention="ring"),
}


@pytest.mark.parametrize("name", list(PLANS))
def test_small_messages(two, name):
    vae, latent = tiny.kl(), tiny.latent("kl", 20, 20)
    run = two.decode(vae, latent, PLANS[name], progress=False)
    if name == "shares":
        with tk.Cluster(1, "cuda") as one:
            alone = tk.TilePlan(GRID, tk.Blend.linear(), tk.Assignment.balanced(GRID, 1))
            assert torch.equal(run.output, one.decode(vae, latent, alone, progress=False).output)
    else:
        assert close(run, two.decode(vae, latent, progress=False))


def test_large_messages(two):
    """Here exact shards hung for ever in the gather of attention's keys and values."""
    vae, latent = tk.demo.image_vae(), torch.randn(1, 16, 256, 256, generator=torch.Generator().manual_seed(0))
    whole = two.decode(vae, latent, progress=False)
    for plan in (tk.ShardPlan(h=2), tk.ShardPlan(h=2, attention="ring")):
        assert close(two.decode(vae, latent, plan, progress=False, timeout=120), whole)


def test_what_is_posted_passes_the_model(two):
    def posted(vae, latent, plan):
        return recorded(lambda: tk.distributed.decode(vae, latent.cuda(), plan))

    for plan in PLANS.values():
        check_queues(two.run(posted, tiny.kl(), tiny.latent("kl", 20, 20), plan))


@pytest.mark.parametrize("schedule", [tk.Schedule.interleaved(2, 2), tk.Schedule.looped(2, 2, 2)])
def test_stages_have_the_bits_of_the_pipeline(two, schedule):
    pipe = tk.demo.pipeline()
    split = tk.StageSplit.even(len(layers_of(pipe.transformer)), schedule.depth)
    call = {"prompt": "a red ball moves right", "num_inference_steps": 3, "output_type": "latent"}
    outputs = []
    for ranks, plan in ((2, tk.StagePlan(split, schedule)), (1, None)):
        generator = torch.Generator().manual_seed(0)
        if plan is None:
            outputs.append(tk.demo.pipeline().to("cuda")(**call, generator=generator).frames.cpu())
        else:
            assert ranks == two.ranks
            outputs.append(two.generate(pipe, plan, **call, generator=generator, progress=False).output.frames.cpu())
    assert torch.equal(*outputs)


def test_a_rank_that_fails_ends_the_other_within_seconds(two):
    def decode(vae, latent):
        if torch.distributed.get_rank() == 1:
            vae.decoder.conv_out.register_forward_hook(lambda *_: 1 / 0)
        return tk.distributed.decode(vae, latent.cuda(), tk.ShardPlan(h=2)) is None

    begin = time.monotonic()
    with pytest.raises(tk.RankFailed, match="ZeroDivisionError"):
        two.run(decode, tiny.kl(), tiny.latent("kl", 20, 20), timeout=60)
    assert time.monotonic() - begin < 10
