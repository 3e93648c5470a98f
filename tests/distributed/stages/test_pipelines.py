"""Whole denoising loops: unmodified pipelines in stages give the latents of unsplit ones, in every bit."""

from __future__ import annotations

import diffusers
import pytest
import torch
from support.pipelines import PIPELINES
from support.staged import QUIET, generated, plans, same, whole

import toolkit as tk
from toolkit.models.transformers.layers import layers_of

# Flux and LTX make one call per step, and are tried under the same schedules as those that make two.
pytestmark = pytest.mark.filterwarnings("ignore:.* called its transformer once per step")

LOOPS = [
    "wan",
    "wan_ti2v",
    "wan_a14b",
    "wan_i2v_a14b",
    "flux",
    "flux_true_cfg",
    "hunyuan15_embedded",
    "qwen_image",
    "ltx",
]


@pytest.fixture(scope="module")
def four():
    with tk.Cluster(ranks=4, device="cpu", start="forkserver") as cluster:
        yield cluster


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_interleaved(four, name, ranks):
    pipe = PIPELINES[name].build()
    plan = plans(pipe, tk.Schedule.interleaved(ranks, branches=2), encoders=ranks - 1)
    assert torch.equal(generated(four, name, plan, 3), *whole(name, [3]))


@pytest.mark.parametrize("name", ["wan", "flux"])
def test_every_cut(four, name):
    (expected,) = whole(name, [1])
    layers = len(layers_of(PIPELINES[name].build().transformer))
    for cut in range(1, layers):
        plan = tk.StagePlan(tk.StageSplit.at([cut], layers), tk.Schedule.interleaved(2, 2))
        assert torch.equal(generated(four, name, plan, 1), expected)


@pytest.mark.parametrize("name", ["wan", "wan_a14b", "qwen_image", "hunyuan15_embedded"])
@pytest.mark.parametrize(
    ("schedule", "more"),
    [
        (tk.Schedule.sequential(2, branches=2), {}),
        (tk.Schedule.looped(2, branches=2, chunks=2), {}),
        (tk.Schedule.interleaved(2, branches=1), {"cfg": 2}),
        (tk.Schedule.looped(1, branches=2, chunks=3), {}),
    ],
)
def test_other_schedules(four, name, schedule, more):
    pipe = PIPELINES[name].build()
    assert torch.equal(generated(four, name, plans(pipe, schedule, **more), 2), *whole(name, [2]))


def test_flow_match_euler(four):
    tiny = PIPELINES["wan"]
    pipe = tiny.build()
    pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    ours = four.generate(pipe, plans(pipe, tk.Schedule.looped(2, 2, chunks=3)), **QUIET, **tiny.call(4)).output
    assert torch.equal(ours, tiny.run(pipe, 4))


@pytest.mark.parametrize("name", ["wan", "wan_a14b", "flux"])
@pytest.mark.parametrize(
    ("schedule", "more"),
    [
        (tk.Schedule.requests(3, branches=2, requests=3), {}),
        (tk.Schedule.requests(2, branches=2, requests=2, chunks=2), {}),  # two of three in flight, one waits
        (tk.Schedule.requests(2, branches=1, requests=3), {"cfg": 2}),
    ],
)
def test_requests_in_flight(four, name, schedule, more):
    tiny, seeds = PIPELINES[name], [5, 6, 7]
    pipe = tiny.build()
    requests = [{"generator": tiny.call(seed)["generator"], "num_inference_steps": 6 + seed % 2} for seed in seeds]
    call = {key: value for key, value in tiny.call().items() if key not in ("generator", "num_inference_steps")}
    run = four.generate(pipe, plans(pipe, schedule, **more), requests=requests, **QUIET, **call)
    expected = [tiny.run(pipe, seed, num_inference_steps=6 + seed % 2) for seed in seeds]
    assert same(run.output, expected)


@pytest.mark.parametrize("name", ["wan_a14b", "wan_i2v_a14b"])
@pytest.mark.parametrize("in_flight", [1, 2])
def test_each_expert_on_ranks_of_its_own(four, name, in_flight):
    tiny, seeds = PIPELINES[name], [1, 2, 3]
    pipe = tiny.build()
    plan = plans(pipe, tk.Schedule.requests(2, 2, in_flight), experts=2)
    requests = [tiny.call(seed) for seed in seeds]
    run = four.generate(pipe, plan, requests=requests, **QUIET)
    assert same(run.output, [tiny.run(pipe, seed) for seed in seeds])
    labels = run.trace[run.trace["kind"] == "stage"].groupby("rank")["label"]
    experts = {rank: {label.split()[-1] for label in found} for rank, found in labels}
    assert experts == {0: {"transformer"}, 1: {"transformer"}, 2: {"transformer_2"}, 3: {"transformer_2"}}


@pytest.mark.parametrize("vae", ["whole", "tiles", "shards"])
def test_latents_are_decoded_by_the_plan(four, vae):
    """Three frames of latents, four rows and six columns."""
    tiny = PIPELINES["wan"]
    pipe = tiny.build()
    grid = tk.TileGrid.cover({"h": 4, "w": 6}, {"h": 3, "w": 4}, 1)
    how = {
        "whole": None,
        "tiles": tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 2)),
        "shards": tk.ShardPlan(h=2),
    }[vae]
    plan = plans(pipe, tk.Schedule.interleaved(3, 2), vae=how)
    ours = torch.as_tensor(four.generate(pipe, plan, **QUIET, **tiny.call(1, output_type="pt")).output)
    latents, video = tiny.run(pipe, 1), tiny.run(pipe, 1, output_type="pt")
    if vae == "whole":
        assert torch.equal(ours, video)
    if vae == "shards":
        assert (ours - video).abs().max() < 1e-5 * video.abs().max()
    if vae == "tiles":
        mean = torch.tensor(pipe.vae.config.latents_mean).view(1, -1, 1, 1, 1)
        std = 1.0 / torch.tensor(pipe.vae.config.latents_std).view(1, -1, 1, 1, 1)
        tiles = four.decode(pipe.vae, latents / std + mean, how, **QUIET).output
        assert torch.equal(ours, pipe.video_processor.postprocess_video(tiles, output_type="pt"))
        assert not torch.equal(ours, video)


def test_the_pipeline_is_left_as_it_was(four):
    tiny = PIPELINES["wan_a14b"]
    pipe = tiny.build()
    before = {name: (id(part), dict(vars(part))) for name, part in pipe.components.items() if part is not None}
    own, layers = set(vars(pipe)), list(pipe.transformer.blocks)
    four.generate(pipe, plans(pipe, tk.Schedule.interleaved(2, 2)), **QUIET, **tiny.call())
    assert {name: (id(part), dict(vars(part))) for name, part in pipe.components.items() if part is not None} == before
    assert set(vars(pipe)) == own
    assert list(pipe.transformer.blocks) == layers
