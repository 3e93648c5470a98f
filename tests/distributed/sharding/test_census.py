"""Every class of the census on real ranks: the sharded call against the model's own, both directions."""

from __future__ import annotations

import pytest
import torch

import toolkit as tk
from toolkit.models.census import CENSUS
from toolkit.models.shards import REFUSED

DIRECTIONS = ("decode", "encode")
SERVED = [(name, way) for name, one in CENSUS.items() for way in DIRECTIONS if (one.cls, way) not in REFUSED]
QUIET = {"progress": False, "memory": False}


def both(cluster, name, way, plan, h, w, **more):
    """The sharded output, and the model's own on one rank."""
    one = CENSUS[name]
    vae = one.build()
    dtype = more.pop("dtype", torch.float32)
    if way == "decode":
        x, run, arguments = one.latent(h, w, **more), cluster.decode, one.call
    else:
        x, run, arguments = one.sample(h, w, **more), cluster.encode, {}
    vae, x = vae.to(dtype), x.to(dtype)
    arguments = {key: value.to(dtype) if isinstance(value, torch.Tensor) else value for key, value in arguments.items()}
    own = run(vae, x, arguments=arguments, seed=7, **QUIET).output
    return run(vae, x, plan, arguments=arguments, seed=7, **QUIET).output, own


def relative(output: torch.Tensor, expected: torch.Tensor) -> float:
    assert output.shape == expected.shape
    assert output.dtype == expected.dtype
    return float((output - expected).abs().max() / expected.abs().max())


def test_the_census_is_as_long_as_promised():
    assert sum(way == "decode" for _, way in SERVED) >= 30


@pytest.mark.parametrize(("name", "way"), SERVED)
def test_two_shards_of_uneven_height(cluster, name, way):
    assert relative(*both(cluster, name, way, tk.ShardPlan(h=2), 5, 3)) < 1e-5


@pytest.mark.parametrize(("name", "way"), SERVED)
def test_a_lattice_of_the_smallest_shards(cluster, name, way):
    assert relative(*both(cluster, name, way, tk.ShardPlan(h=2, w=2), 4, 5)) < 1e-5
