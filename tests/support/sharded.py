"""A sharded call beside the model's own, on the ranks of a cluster."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from toolkit.models.autoencoders.census import CENSUS

QUIET: dict[str, Any] = {"progress": False, "memory": False}


def inputs(name: str, way: str, h: int, w: int, dtype: torch.dtype = torch.float32, **more: Any):
    """A specimen, an input of its call, and the call's further arguments."""
    one = CENSUS[name]
    x = one.latent(h, w, **more) if way == "decode" else one.sample(h, w, **more)
    given = one.call if way == "decode" else {}
    arguments = {key: value.to(dtype) if isinstance(value, Tensor) else value for key, value in given.items()}
    return one.build().to(dtype), x.to(dtype), arguments


def both(cluster, name: str, way: str, plan, h: int, w: int, **more: Any) -> tuple[Tensor, Tensor]:
    """The sharded output, and the model's own on one rank."""
    vae, x, arguments = inputs(name, way, h, w, **more)
    run = cluster.decode if way == "decode" else cluster.encode
    own = run(vae, x, arguments=arguments, seed=7, **QUIET).output
    return run(vae, x, plan, arguments=arguments, seed=7, **QUIET).output, own


def relative(output: Tensor, expected: Tensor) -> float:
    """The largest error, as a part of the largest value."""
    assert output.shape == expected.shape
    assert output.dtype == expected.dtype
    return float((output - expected).abs().max() / expected.abs().max())
