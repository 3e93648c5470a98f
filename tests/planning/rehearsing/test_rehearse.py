"""Rehearsals beside runs: messages equal to the byte, memory within 5 %, refusals in the same words."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

import toolkit as tk
from toolkit.bench.rehearsal_accuracy import sent
from toolkit.errors import PlanError, ToolkitError
from toolkit.models.autoencoders.census import specimen
from toolkit.planning.rehearsing.profiling import profile
from toolkit.planning.rehearsing.rehearse import rehearse
from toolkit.runs.trace import Kind

PICTURE = (1, 16, 13, 10)
SHARDED = [
    ("AutoencoderKL", "decode", tk.ShardPlan(h=2)),
    ("AutoencoderKL", "encode", tk.ShardPlan(h=2, w=2)),
    ("AutoencoderKL", "decode", tk.ShardPlan(w=3, attention="ring")),
    ("AutoencoderKLWan_2.1", "decode", tk.ShardPlan(h=3)),
    ("AutoencoderKLWan_2.1", "decode", tk.ShardPlan(h=2, borders="recompute")),
    ("AutoencoderKLHunyuanVideo", "decode", tk.ShardPlan(h=2, w=2)),
    ("AutoencoderKLHunyuanVideo15", "encode", tk.ShardPlan(w=2)),
    ("AutoencoderKLLTXVideo_0.9.5", "decode", tk.ShardPlan(h=5)),
    ("AutoencoderDC_sana", "decode", tk.ShardPlan(h=2, w=2)),
    ("ConsistencyDecoderVAE", "decode", tk.ShardPlan(h=2)),
    ("AutoencoderKLMochi", "encode", tk.ShardPlan(h=2)),
    ("AsymmetricAutoencoderKL", "decode", tk.ShardPlan(h=3)),
]


@pytest.mark.parametrize(("name", "way", "plan"), SHARDED)
def test_messages_of_shards_are_those_of_a_run(cluster, name, way, plan):
    chosen = specimen(name)
    vae = chosen.build()
    x = chosen.latent(11, 9) if way == "decode" else chosen.sample(11, 9)
    given = {"arguments": chosen.call if way == "decode" else {}, "seed": 0}
    run = getattr(cluster, way)(vae, x, plan, progress=False, memory=False, **given)
    assert sent(rehearse(vae, x, plan, direction=way, **given)) == sent(run) != []


def _tiles(ranks: int, *, tile: int = 6, overlap: int = 2, blend: tk.Blend | None = None) -> tk.TilePlan:
    grid = tk.TileGrid.cover({"h": PICTURE[-2], "w": PICTURE[-1]}, tile, overlap)
    return tk.TilePlan(grid, blend or tk.Blend.linear(), tk.Assignment.balanced(grid, ranks))


@pytest.mark.parametrize(
    ("plan", "options"),
    [
        (_tiles(2), {}),
        (_tiles(5), {}),
        (_tiles(3, overlap=4, blend=tk.Blend.diffusers()), {}),
        (_tiles(3), {"norm_passes": 1}),
        (_tiles(2, tile=13, overlap=2), {}),
    ],
    ids=["shares", "5 ranks", "merged on the root", "norm passes", "fewer tiles"],
)
def test_messages_of_tiles_are_those_of_a_run(cluster, plan, options):
    vae, latent = tk.demo.image_vae(), torch.zeros(PICTURE)
    run = cluster.decode(vae, latent, plan, progress=False, memory=False, **options)
    assert sent(rehearse(vae, PICTURE, plan, **options)) == sent(run)


def test_messages_of_streamed_tiles_are_those_of_a_run(cluster):
    vae, latent, plan = tk.demo.image_vae(), torch.zeros(PICTURE), _tiles(3)
    run = cluster.decode(vae, latent, plan, progress=False, memory=False, stream=lambda band, start: None)
    rehearsal = rehearse(vae, PICTURE, plan, stream=True)
    assert sent(rehearsal) == sent(run) != []
    assert rehearsal.shape == run.shape
    assert (rehearsal.trace["kind"] == Kind.STREAM).sum() == (run.trace["kind"] == Kind.STREAM).sum()


@pytest.mark.parametrize(
    "plan", [None, tk.ShardPlan(h=2), _tiles(2), _tiles(2, overlap=4)], ids=["whole", "shards", "tiles", "merged"]
)
def test_memory_with_a_profile_is_that_of_a_run(cluster, plan):
    shape = (1, 16, 26, 20)
    if isinstance(plan, tk.TilePlan):
        grid = tk.TileGrid.cover({"h": 26, "w": 20}, 2 * 6, 2 * len(plan.grid.seams[0].span))
        plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 2))
    vae = tk.demo.image_vae()
    # A rank that another process holds up lets go of what it has at other times: one of a few runs is not disturbed.
    runs = [cluster.decode(vae, torch.zeros(shape), plan, progress=False) for _ in range(4)]
    rehearsal = rehearse(vae, shape, plan, profile=profile(vae, shape, plan, device="cpu"))
    assert rehearsal.peaks.index.tolist() == runs[0].peaks.index.tolist()
    assert min((rehearsal.peaks / run.peaks - 1).abs().max() for run in runs) < 0.05


def test_edges_that_have_arrived_take_no_memory_any_more():
    """Where times are known, tiles are blended as soon as their edges are there, as in a run, and not at the end."""
    grid = tk.TileGrid.cover({"h": 50, "w": 75}, tile=12, overlap=4)
    plan = tk.TilePlan(grid, tk.Blend.cosine(), tk.Assignment.balanced(grid, 2))
    vae, shape, slow = tk.demo.image_vae(), (1, 16, 50, 75), tk.Profile.assume(operations=1e10, bandwidth=1e10)
    timed, bare = rehearse(vae, shape, plan, profile=slow), rehearse(vae, shape, plan)
    assert timed.peaks[0] < 0.95 * bare.peaks[0]
    assert sent(timed) == sent(bare)
    mine = timed.trace[timed.trace["rank"] == 0]
    kinds = mine["kind"].tolist()
    assert kinds.index(Kind.BLEND) < len(kinds) - 1 - kinds[::-1].index(Kind.DECODE)


def test_a_rehearsal_has_the_tables_of_a_run(cluster):
    vae, plan = tk.demo.image_vae(), tk.ShardPlan(h=2)
    run = cluster.decode(vae, torch.zeros(PICTURE), plan, progress=False)
    rehearsal = rehearse(vae, PICTURE, plan, profile=tk.Profile.assume(operations=1e10, bandwidth=1e10))
    for name in ("trace", "memory"):
        mine, its = getattr(rehearsal, name), getattr(run, name)
        assert mine.columns.tolist() == its.columns.tolist()
        assert set(mine["rank"]) == {0, 1}
    assert rehearsal.summary().columns.tolist() == run.summary().columns.tolist()
    assert rehearsal.shape == run.shape
    assert 0 < rehearsal.seconds == rehearsal.trace["end"].max()
    assert rehearsal.memory.groupby("rank")["bytes"].max().tolist() == rehearsal.peaks.tolist()


def test_at_the_end_the_output_is_allocated(cluster):
    vae, plan = tk.demo.image_vae(), tk.ShardPlan(h=2)
    run = cluster.decode(vae, torch.zeros(PICTURE), plan, progress=False)
    ends = [one.memory.groupby("rank")["bytes"].last().tolist() for one in (run, rehearse(vae, PICTURE, plan))]
    assert ends[0] == ends[1] == [run.output.nbytes, 0]


def test_a_slow_link_makes_ranks_wait():
    vae, plan = tk.demo.image_vae(), tk.ShardPlan(h=2)
    fast = rehearse(vae, PICTURE, plan, profile=tk.Profile.assume(operations=1e10, bandwidth=1e10))
    slow = fast.with_profile(fast.profile, tk.Topology(hosts=2, between=tk.Link(bandwidth=1e12, latency=0.1)))
    waits = slow.trace[(slow.trace["kind"] == Kind.WAIT) & (slow.trace["rank"] == 0)]
    # Each exchange costs the latency once, and nothing else takes as long.
    long = (waits["end"] - waits["start"] > 0.05).sum()
    assert long > 30
    assert slow.seconds - fast.seconds == pytest.approx(0.1 * long, rel=0.05)


def test_without_a_profile_there_are_no_times():
    rehearsal = rehearse(tk.demo.image_vae(), PICTURE)
    assert rehearsal.seconds != rehearsal.seconds
    assert "no profile" in repr(rehearsal)
    assert rehearsal.missing


def test_a_profile_of_another_shape_is_estimated_from_and_says_so():
    vae = tk.demo.image_vae()
    small = profile(vae, (1, 16, 6, 6), device="cpu")
    rehearsal = rehearse(vae, PICTURE, profile=small)
    assert rehearsal.estimated > 0.5
    assert "estimated from other shapes" in repr(rehearsal)
    assert rehearse(vae, (1, 16, 6, 6), profile=small).missing == {}
    known = profile(vae, PICTURE, device="cpu", known=small)
    assert rehearse(vae, PICTURE, profile=known).estimated == 0
    assert rehearse(vae, (1, 16, 6, 6), profile=known).estimated == 0


def test_a_rehearsal_has_no_output():
    with pytest.raises(ToolkitError, match="nothing was computed"):
        _ = rehearse(tk.demo.image_vae(), PICTURE).output


@pytest.mark.parametrize(
    ("shape", "plan", "options"),
    [
        ((1, 16, 13), tk.ShardPlan(h=2), {}),
        ((1, 16, 1, 10), tk.ShardPlan(h=2), {}),
        (PICTURE, _tiles(2, overlap=4), {"stream": True}),
        ((1, 16, 14, 10), _tiles(2), {}),
        (PICTURE, tk.ShardPlan(h=2), {"norm_passes": 1}),
        (PICTURE, tk.ShardPlan(h=2, borders="recompute"), {}),
    ],
    ids=["three dims", "thin", "streamed and merged", "another grid", "norm passes", "recompute"],
)
def test_what_a_run_refuses_is_refused_in_the_same_words(cluster, shape, plan, options):
    vae, given = tk.demo.image_vae(), dict(options)
    streamed = given.pop("stream", False)
    sink = (lambda band, start: None) if streamed else None
    with pytest.raises(ToolkitError) as run:
        cluster.decode(vae, torch.zeros(shape), plan, progress=False, stream=sink, **given)
    with pytest.raises(type(run.value)) as rehearsal:
        rehearse(vae, shape, plan, stream=streamed, **given)
    assert str(rehearsal.value) == str(run.value)


def test_an_operation_that_cannot_be_sharded_is_refused_in_the_same_words(cluster):
    class Flipped(torch.nn.Module):
        def forward(self, x):
            return x.flip(-2)

    vae = tk.demo.image_vae()
    vae.decoder.conv_out = torch.nn.Sequential(vae.decoder.conv_out, Flipped())
    with pytest.raises(tk.NotExact, match="flip") as refusal:
        rehearse(vae, PICTURE, tk.ShardPlan(h=2))
    assert "decoder.conv_out.1" in str(refusal.value)


def test_other_inputs_are_refused():
    vae = tk.demo.image_vae()
    with pytest.raises(PlanError, match="at least 1"):
        rehearse(vae, (1, 16, 0, 4))
    with pytest.raises(PlanError, match="give the input of the call, or its shape"):
        rehearse(vae, "large")
    with pytest.raises(PlanError, match="the topology has 1"):
        rehearse(vae, PICTURE, tk.ShardPlan(h=2), topology=tk.Topology())
    with pytest.raises(PlanError, match="leave out device="):
        rehearse(vae, PICTURE, device="cpu", profile=tk.Profile.assume(operations=1, bandwidth=1, device="cuda"))


def test_a_generator_among_the_arguments_is_no_obstacle():
    chosen = specimen("ConsistencyDecoderVAE")
    arguments = {"generator": torch.Generator()}
    assert rehearse(chosen.build(), chosen.latent(3, 3), arguments=arguments).shape == (1, 3, 24, 24)


def test_a_model_is_left_as_it_was_found_and_needs_no_weights():
    vae = tk.demo.image_vae()
    before = {name: (weight.data_ptr(), weight._version) for name, weight in vae.state_dict().items()}
    with_weights = rehearse(vae, PICTURE, tk.ShardPlan(h=2))
    assert {name: (weight.data_ptr(), weight._version) for name, weight in vae.state_dict().items()} == before
    without = rehearse(tk.demo.image_vae().to("meta"), PICTURE, tk.ShardPlan(h=2))
    assert [script.steps for script in without.scripts] == [script.steps for script in with_weights.scripts]


def test_an_accelerator_need_not_exist():
    vae = tk.demo.image_vae().to(torch.bfloat16)
    rehearsal = rehearse(vae, PICTURE, tk.ShardPlan(h=2), device="cuda")
    half = rehearse(tk.demo.image_vae(), PICTURE, tk.ShardPlan(h=2), device="cuda")
    assert rehearsal.peaks.max() < 0.6 * half.peaks.max()
    assert sum(rehearsal.messages["bytes"]) < 0.8 * sum(half.messages["bytes"])


def test_more_ranks_need_less_memory_each():
    vae = tk.demo.image_vae()
    peaks = [rehearse(vae, (1, 16, 48, 8), tk.ShardPlan(h=ranks)).peaks.max() for ranks in (1, 2, 4)]
    assert all(fewer < 0.65 * more for more, fewer in pairwise(peaks))
