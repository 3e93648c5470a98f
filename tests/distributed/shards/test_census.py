"""Every class of the census on real ranks: the sharded call against the model's own, both directions."""

from __future__ import annotations

import pytest
import torch
from support.sharded import both, relative

import toolkit as tk
from toolkit.models.autoencoders.autoencoder_table import AUTOENCODER_ENTRIES
from toolkit.models.autoencoders.census import CENSUS

DIRECTIONS = ("decode", "encode")
SERVED = [
    (name, way)
    for name, one in CENSUS.items()
    for way in DIRECTIONS
    if way not in AUTOENCODER_ENTRIES[one.cls].no_shards
]

WIDE = 1e-12
"""Bound in double precision, where only the order of sums is left of the difference."""

CASTS = {"AutoencoderDC": 3e-6, "AutoencoderDC_sana": 3e-6, "AutoencoderKLQwenImage21": 3e-6} | dict.fromkeys(
    (name for name in CENSUS if "LTXVideo" in name), 3e-6
)
"""Models that compute in single precision inside, whatever they are given."""


def test_the_census_is_as_long_as_promised():
    assert sum(way == "decode" for _, way in SERVED) >= 30


@pytest.mark.parametrize(("name", "way"), SERVED)
def test_two_shards_of_uneven_height(cluster, name, way):
    assert relative(*both(cluster, name, way, tk.ShardPlan(h=2), 5, 3)) < 1e-5


@pytest.mark.parametrize(("name", "way"), SERVED)
def test_a_lattice_of_the_smallest_shards(cluster, name, way):
    plan = tk.ShardPlan(h=2, w=2)
    assert relative(*both(cluster, name, way, plan, 4, 5, dtype=torch.float64)) < CASTS.get(name, WIDE)


BORDERS = [n for n, one in CENSUS.items() if AUTOENCODER_ENTRIES[one.cls].borders and n != "AutoencoderDC_sana"]


@pytest.mark.parametrize("name", BORDERS)
def test_without_messages(cluster, name):
    for plan in (tk.ShardPlan(h=3, borders="recompute"), tk.ShardPlan(h=2, w=2, borders="recompute")):
        assert relative(*both(cluster, name, "decode", plan, 7, 5, dtype=torch.float64)) < CASTS.get(name, WIDE)


GLOBAL_ATTENTION = ["AutoencoderKL_flux", "AutoencoderKLWan_2.1", "AutoencoderKLHunyuanVideo", "AutoencoderKLCosmos"]


@pytest.mark.parametrize("way", DIRECTIONS)
@pytest.mark.parametrize("name", [*GLOBAL_ATTENTION, "AutoencoderKLHunyuanVideo15"])
def test_attention_in_a_ring(cluster, name, way):
    plan = tk.ShardPlan(h=3, attention="ring")
    assert relative(*both(cluster, name, way, plan, 7, 3, dtype=torch.float64)) < WIDE


def test_layers_computed_in_full_use_the_kernels_of_the_run(cluster):
    """In single precision too: other kernels in the middle block would show in the last bits, and be slow."""
    plan = tk.ShardPlan(h=2, borders="recompute")
    assert relative(*both(cluster, "AutoencoderKLWan_2.1", "decode", plan, 5, 8)) == 0
