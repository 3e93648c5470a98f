"""Every layer on shards sees the memory format that it sees in the model's own call: no map changes it by accident."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from support.sharded import inputs
from torch import Tensor

import toolkit as tk

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def format_of(x: Tensor) -> str:
    """``both`` where a size of 1 makes them the same."""
    usual, last = x.is_contiguous(), x.is_contiguous(memory_format=LAST[x.ndim])
    return "both" if usual and last else "contiguous" if usual else "channels last" if last else "neither"


def formats(vae: Any, x: Tensor, plan: tk.ShardPlan | None) -> list[tuple[str, str, str]]:
    """Each convolution and norm of a decode: its class, and the memory formats of its input and output."""
    seen: list[tuple[str, str, str]] = []

    def look(module: torch.nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        if given[0].ndim in LAST:
            seen.append((type(module).__name__, format_of(given[0]), format_of(out)))

    kinds = (torch.nn.GroupNorm, torch.nn.Conv2d, torch.nn.Conv3d)
    hooks = [part.register_forward_hook(look) for part in vae.modules() if isinstance(part, kinds)]
    with torch.no_grad():
        if plan is None:
            vae.decode(x)
        else:
            # The first call tries the model out, because it has hooks.
            tk.distributed.decode(vae, x, plan)
            seen.clear()
            tk.distributed.decode(vae, x, plan)
    for hook in hooks:
        hook.remove()
    return seen


def formats_on_ranks(name: str, *, last: bool, plan: tk.ShardPlan) -> list[tuple[str, ...]]:
    """The layers whose format on this rank is not that of the model's own call."""
    vae, x, _ = inputs(name, "decode", 12, 8)
    for part in vae.modules():
        # Not vae.to(memory_format=...), which wants all weights to have the same number of dims.
        if last and isinstance(part, torch.nn.Conv2d | torch.nn.Conv3d):
            part.to(memory_format=LAST[part.weight.ndim])
    own, mine = formats(vae, x, None), formats(vae, x, plan)
    if dist.get_rank() >= plan.ranks:
        return []
    assert len(own) == len(mine) > 10
    return [(*one, "on shards", *other) for one, other in zip(own, mine, strict=True) if one != other]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("plan", [tk.ShardPlan(h=2), tk.ShardPlan(h=2, w=2)])
@pytest.mark.parametrize("name", ["AutoencoderKL", "AutoencoderKLWan_2.1", "AutoencoderKLMochi"])
def test_every_layer_sees_the_models_own_format(cluster, name, plan, last):
    found = cluster.run(formats_on_ranks, name, last=last, plan=plan)
    assert found == [[]] * cluster.ranks
