"""Wan on shards: heights that ranks do not divide, every lattice, ragged samples, and what each rank holds."""

from __future__ import annotations

import pytest
import torch
from support.sharded import QUIET, both, inputs, relative

import toolkit as tk
from toolkit.distributed.shards.rules.table import NAMED
from toolkit.models.autoencoders.options import NAMED_RULES

LATTICES = [(1, 2), (2, 1), (3, 1), (2, 2)]


@pytest.mark.parametrize("name", ["AutoencoderKLWan_2.1", "AutoencoderKLWan_2.2"])
@pytest.mark.parametrize(("h", "w"), LATTICES)
def test_several_frames_on_sizes_that_nothing_divides(cluster, name, h, w):
    assert relative(*both(cluster, name, "decode", tk.ShardPlan(h, w), 11, 7, frames=3)) < 1e-5
    assert relative(*both(cluster, name, "encode", tk.ShardPlan(h, w), 7, 5, frames=9)) < 1e-5


def test_a_rule_by_its_name_changes_last_bits_only(cluster):
    vae, x, _ = inputs("AutoencoderKLWan_2.1", "decode", 11, 7)
    plan, named = tk.ShardPlan(h=2), {"normalize": "vecdot"}
    own = cluster.decode(vae, x, **QUIET).output
    sharded = cluster.decode(vae, x, plan, **QUIET).output
    quick = cluster.decode(vae, x, plan, rules=named, **QUIET).output
    assert not torch.equal(quick, sharded)
    assert relative(quick, own) < 1e-5


def test_the_names_that_options_accept_are_those_of_the_table():
    assert set(NAMED) == NAMED_RULES


@pytest.mark.parametrize("root", [1, 4])
def test_five_ranks_and_another_root(cluster, root):
    plan = tk.ShardPlan(h=5, root=root)
    assert relative(*both(cluster, "AutoencoderKLWan_2.1", "decode", plan, 13, 3)) < 1e-5


def test_a_batch_and_one_rank_alone(cluster):
    for plan in (tk.ShardPlan(), tk.ShardPlan(w=2)):
        assert relative(*both(cluster, "AutoencoderKLWan_2.1", "decode", plan, 5, 5, batch=2)) < 1e-5
        assert relative(*both(cluster, "AutoencoderKL", "encode", plan, 5, 5, batch=3)) < 1e-5


@pytest.mark.parametrize("name", ["AutoencoderKL", "AutoencoderTiny", "AutoencoderKLWan_2.1"])
def test_samples_that_end_within_a_latent_cell(cluster, name):
    vae, x, _ = inputs(name, "encode", 9, 8)
    ragged = x[..., :-3, :-1]
    own = cluster.encode(vae, ragged, **QUIET).output
    sharded = cluster.encode(vae, ragged, tk.ShardPlan(h=2, w=2), **QUIET).output
    assert relative(sharded, own) < 1e-5


def test_the_same_run_twice_gives_the_same_bits(cluster):
    vae, x, _ = inputs("AutoencoderKLWan_2.1", "decode", 9, 5)
    plan = tk.ShardPlan(h=2, w=2)
    assert torch.equal(cluster.decode(vae, x, plan, **QUIET).output, cluster.decode(vae, x, plan, **QUIET).output)


def test_what_a_rank_holds_falls_with_the_ranks(cluster):
    """Activations are divided; the output and what is proportional to a shard's border are not."""
    vae, x, _ = inputs("AutoencoderKLWan_2.1", "decode", 40, 24)
    peaks = {}
    for ranks in (1, 2, 4):
        run = cluster.decode(vae, x, tk.ShardPlan(h=ranks), progress=False)
        output = run.output.numel() * run.output.element_size()
        assert len(run.peaks) == ranks
        peaks[ranks] = max(peak - (output if rank == 0 else 0) for rank, peak in run.peaks.items())
    assert peaks[2] < 0.6 * peaks[1]
    assert peaks[4] < 0.35 * peaks[1]
