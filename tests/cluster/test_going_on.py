"""A decode that goes on: without a rank that was lost, with smaller tiles where memory runs out."""

from __future__ import annotations

import os
import random
import signal
import threading

import pytest
import torch
from support import tiny

import toolkit as tk
from toolkit.cluster.smaller_tiles import smaller

DEATHS = int(os.environ.get("TOOLKIT_DEATHS", "2"))
"""Decodes during which a rank is killed; 50 by hand."""


@pytest.fixture(scope="module")
def three():
    with tk.Cluster(3, "cpu") as cluster:
        yield cluster


def plan_for(latent: torch.Tensor, blend: tk.Blend | None = None, tile: int = 8) -> tk.TilePlan:
    axes = ("t", "h", "w") if latent.ndim == 5 and tile == 4 else ("h", "w")
    extent = {axis: latent.shape["bcthw".index(axis) - 5] for axis in axes}
    grid = tk.TileGrid.cover(extent, tile=tile, overlap=2)
    return tk.TilePlan(grid, blend or tk.Blend.linear(), tk.Assignment.balanced(grid, 3))


@pytest.mark.parametrize(("name", "blend"), [("kl", "linear"), ("kl", "diffusers"), ("wan21", "crop")])
def test_nobody_is_lost_and_the_bits_are_those_of_any_run(three, name, blend):
    vae, latent = tiny.MODELS[name](), tiny.latent(name, 21, 18)
    plan = plan_for(latent, getattr(tk.Blend, blend)())
    expected = three.decode(vae, latent, plan, progress=False)
    run = three.decode(vae, latent, plan, on_loss="continue", progress=False)
    assert torch.equal(run.output, expected.output)
    assert "ranks lost" not in run.record.what
    assert run.peaks.index.tolist() == expected.peaks.index.tolist()


def test_encode(three):
    vae = tiny.kl()
    sample, latent = torch.rand(1, 3, 42, 36), torch.zeros(1, 4, 21, 18)
    plan = plan_for(latent)
    expected = three.encode(vae, sample, plan, progress=False).output
    assert torch.equal(three.encode(vae, sample, plan, on_loss="continue", progress=False).output, expected)


@pytest.mark.parametrize("seed", range(DEATHS))
def test_a_rank_is_killed_at_a_random_moment(three, seed):
    vae, latent = tiny.kl(), tiny.latent("kl", 90, 40)
    plan, dice = plan_for(latent), random.Random(seed)
    expected = three.decode(vae, latent, plan, progress=False)
    victim = three.pids[dice.randrange(3)]
    timer = threading.Timer(dice.uniform(0.0, expected.seconds), os.kill, (victim, signal.SIGKILL))
    timer.start()
    run = three.decode(vae, latent, plan, on_loss="continue", progress=False)
    timer.join()
    assert torch.equal(run.output, expected.output)
    if "ranks lost" in run.record.what:
        assert len(run.record.what["ranks lost"]) == 1
        assert "ended by SIGKILL" in next(iter(run.record.what["ranks lost"].values()))
    else:
        three.close()  # the rank had done its part; a death while nothing runs is told by the next call
    assert torch.equal(three.decode(vae, latent, plan, progress=False).output, expected.output)


class Ends(torch.nn.Module):
    """Ends its process in one call, on the ranks named."""

    def __init__(self, block: torch.nn.Module, ranks: tuple[int, ...]) -> None:
        super().__init__()
        self.block, self.ranks, self.calls = block, ranks, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == 2 and torch.distributed.get_rank() in self.ranks:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.block(x)


def test_finished_tiles_are_kept_and_the_rest_is_dealt(three):
    vae, latent = tiny.kl(), tiny.latent("kl", 21, 18)
    plan = plan_for(latent)
    expected = three.decode(vae, latent, plan, progress=False).output
    vae.decoder.conv_in = Ends(vae.decoder.conv_in, ranks=(0, 2))
    run = three.decode(vae, latent, plan, on_loss="continue", progress=False)
    assert torch.equal(run.output, expected)
    assert sorted(run.record.what["ranks lost"]) == ["0", "2"]
    computed = run.trace[run.trace["kind"] == "decode"]
    assert sorted(computed["tile"]) == list(range(len(plan.grid)))  # each once
    assert (computed["rank"] == 1).sum() == len(plan.grid) - 2
    assert three.run(torch.distributed.get_rank) == [0, 1, 2]


def test_the_loss_of_all_is_an_error(three):
    vae, latent = tiny.kl(), tiny.latent("kl", 21, 18)
    vae.decoder.conv_in = Ends(vae.decoder.conv_in, ranks=(0, 1, 2))
    with pytest.raises(tk.RankDied, match="ended by SIGKILL"):
        three.decode(vae, latent, plan_for(latent), on_loss="continue", progress=False)
    assert three.run(torch.distributed.get_rank) == [0, 1, 2]


class Full(torch.nn.Module):
    """Runs out of memory where its input is larger than some."""

    def __init__(self, block: torch.nn.Module, most: int) -> None:
        super().__init__()
        self.block, self.most = block, most

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] * x.shape[-2] > self.most:
            raise torch.OutOfMemoryError("out of memory. Tried to allocate 1 TiB")
        return self.block(x)


@pytest.mark.parametrize("on_loss", ["raise", "continue"])
def test_smaller_tiles_where_memory_runs_out(three, on_loss):
    vae, latent = tiny.kl(), tiny.latent("kl", 21, 18)
    plan = plan_for(latent, tile=12)
    less = smaller(plan)
    expected = three.decode(vae, latent, less, progress=False).output
    vae.decoder.conv_in = Full(vae.decoder.conv_in, most=100)
    with pytest.raises(tk.RankFailed, match="ran out of memory"):
        three.decode(vae, latent, plan, on_loss=on_loss, progress=False)
    with pytest.warns(UserWarning, match="out of memory with TilePlan.* goes on with TilePlan"):
        run = three.decode(vae, latent, plan, on_oom="smaller", on_loss=on_loss, progress=False)
    assert run.plan == less
    assert "out of memory" in run.record.what["smaller tiles than asked for"]
    assert torch.equal(run.output, expected)


def test_tiles_that_cannot_be_smaller(three):
    vae, latent = tiny.kl(), tiny.latent("kl", 21, 18)
    vae.decoder.conv_in = Full(vae.decoder.conv_in, most=1)
    with (
        pytest.warns(UserWarning, match="out of memory"),
        pytest.raises(tk.RankFailed, match="ran out of memory"),
    ):
        three.decode(vae, latent, plan_for(latent), on_oom="smaller", progress=False)


def test_what_cannot_go_on_is_refused(three):
    vae, latent = tiny.kl(), tiny.latent("kl", 21, 18)
    plan, shards, keep = plan_for(latent), tk.ShardPlan(h=3), {"progress": False}
    with pytest.raises(tk.PlanError, match=r"on_loss='continue' with .* only tiles can be computed by others"):
        three.decode(vae, latent, shards, on_loss="continue", **keep)
    with pytest.raises(tk.PlanError, match="on_loss='continue' with norm_passes"):
        three.decode(vae, latent, plan, on_loss="continue", norm_passes=1, **keep)
    with pytest.raises(tk.PlanError, match="on_loss='continue' with stream="):
        three.decode(vae, latent, plan, on_loss="continue", stream=lambda band, start: None, **keep)
    with pytest.raises(tk.PlanError, match=r"on_oom='smaller' with .* no tiles"):
        three.decode(vae, latent, shards, on_oom="smaller", **keep)
    with pytest.raises(tk.PlanError, match="on_oom='smaller' with stream="):
        three.decode(vae, latent, plan, on_oom="smaller", stream=lambda band, start: None, **keep)
    with pytest.raises(tk.PlanError, match="on_loss='go on'"):
        three.decode(vae, latent, plan, on_loss="go on", **keep)
