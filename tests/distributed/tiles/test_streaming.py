"""Streaming over real ranks: the bands are those of a run without it, bit for bit, in order, each once."""

from __future__ import annotations

import pytest
import torch
from support import tiny

import toolkit as tk
from toolkit.geometry.bands import bands
from toolkit.models.autoencoders.autoencoder_table import AUTOENCODER_ENTRIES
from toolkit.models.autoencoders.census import specimen

DEALS = [tk.Assignment.balanced, tk.Assignment.contiguous, tk.Assignment.round_robin]


def streamed(cluster: tk.Cluster, vae, latent, plan, dim: int = -2, **options) -> torch.Tensor:
    """The output put together from the bands that the root's callable was given."""

    def spmd(vae, latent):
        given = []
        output = tk.distributed.decode(vae, latent, plan, stream=lambda band, at: given.append((at, band)), **options)
        return output, given

    answers = cluster.run(spmd, vae, latent, timeout=60)
    given = answers[plan.root][1]
    assert [output for output, _ in answers] == [None] * cluster.ranks
    assert not any(given for rank, (_, given) in enumerate(answers) if rank != plan.root)
    assert len(given) == len(bands(plan.grid))
    starts = [0]
    for at, band in given:
        assert at == starts[-1]
        starts.append(at + band.shape[dim])
    return torch.cat([band for _, band in given], dim)


CASES = [
    ("wan22", (10, 4), tk.Blend.diffusers()),
    ("kl", (27, 13), tk.Blend.diffusers()),
    ("kl", (27, 13), tk.Blend.linear()),
]


@pytest.mark.parametrize(("name", "size", "blend"), CASES)
def test_equal_bits_for_every_number_of_ranks(cluster, name, size, blend):
    vae, latent = tiny.MODELS[name](), tiny.latent(name, *size, batch=2 if name == "kl" else 1)
    grid = tk.diffusers_grid(vae, latent.shape)
    alone = tk.TilePlan(grid, blend, tk.Assignment.balanced(grid, 1))
    expected = cluster.decode(vae, latent, alone, progress=False, memory=False).output
    for ranks in (1, 2, 3, 5):
        for number, deal in enumerate(DEALS):
            plan = tk.TilePlan(grid, blend, deal(grid, ranks), root=number % ranks)
            assert torch.equal(streamed(cluster, vae, latent, plan), expected), plan


ORDERS = {
    "backwards": lambda n: tk.Assignment(tuple(2 - i * 3 // n for i in range(n)), 3),
    "the root has the last row": lambda n: tk.Assignment(tuple(0 if i >= n - 4 else 1 + i % 4 for i in range(n)), 5),
    "the root has no tile": lambda n: tk.Assignment(tuple(1 + i % 4 for i in range(n)), 5),
    "one rank has all but one": lambda n: tk.Assignment(tuple(int(i != n // 2) for i in range(n)), 2),
}


@pytest.mark.parametrize("name", ORDERS)
def test_no_assignment_locks_or_changes_a_bit(cluster, name):
    vae, latent = tiny.kl(), tiny.latent("kl", 27, 19)
    grid = tk.diffusers_grid(vae, latent.shape)
    alone = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.balanced(grid, 1))
    expected = cluster.decode(vae, latent, alone, progress=False, memory=False).output
    plan = tk.TilePlan(grid, tk.Blend.diffusers(), ORDERS[name](len(grid)))
    assert torch.equal(streamed(cluster, vae, latent, plan), expected)


@pytest.mark.parametrize("axes", ["thw", "hw", "w"])
def test_bands_run_along_the_first_axis(cluster, axes):
    one = specimen("AutoencoderKLHunyuanVideo")
    vae, latent = one.build(), one.latent(9, 10, frames=7)
    sizes = dict(zip("thw", latent.shape[2:], strict=True))
    grid = tk.TileGrid.cover({axis: sizes[axis] for axis in axes}, tile=4, overlap=1)
    alone, three = (tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, n)) for n in (1, 3))
    expected = cluster.decode(vae, latent, alone, progress=False, memory=False).output
    assert torch.equal(streamed(cluster, vae, latent, three, {"t": -3, "h": -2, "w": -1}[axes[0]]), expected)


def test_statistics_of_all_tiles_and_one_tile_only(cluster):
    vae, latent = tiny.kl(), tiny.latent("kl", 20, 7)
    grid = tk.TileGrid.cover({"h": 20, "w": 7}, tile=8, overlap=2)
    plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 2))
    expected = cluster.decode(vae, latent, plan, norm_passes=1, progress=False).output
    assert torch.equal(streamed(cluster, vae, latent, plan, norm_passes=1), expected)
    whole = tk.TileGrid.cover({"h": 20, "w": 7}, tile=20)
    elsewhere = tk.TilePlan(whole, tk.Blend.linear(), tk.Assignment((1,), 2))
    expected = cluster.decode(vae, latent, elsewhere, progress=False).output
    assert torch.equal(streamed(cluster, vae, latent, elsewhere), expected)


def test_what_cannot_be_streamed_is_refused():
    vae, latent = tiny.kl(), tiny.latent("kl", 9, 9)
    grid = tk.TileGrid.strided({"h": 9, "w": 9}, tile=4, stride=1)
    three_meet = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 1))
    plans = {"where three tiles meet": three_meet, "a ShardPlan": tk.ShardPlan(), "the model's own call": None}
    for words, plan in plans.items():
        with pytest.raises(tk.PlanError, match=words):
            tk.distributed.decode(vae, latent, plan, stream=print)


@pytest.mark.parametrize(
    "name", [name for name, entry in AUTOENCODER_ENTRIES.items() if entry.tiles and entry.tiles.finish]
)
def test_what_is_done_after_the_merge_is_done_to_each_value_for_itself(name):
    sample = torch.randn(1, 3, 2, 8, 8) * 2
    whole, finish = sample.clone(), AUTOENCODER_ENTRIES[name].tiles.finish
    finish(whole)
    for row in sample.unbind(-2):
        finish(row)
    assert torch.equal(sample, whole)
