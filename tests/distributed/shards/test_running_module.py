"""Which module is running: the innermost one, also past __call__, through helpers, and after an exception."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from toolkit.distributed.shards.running_module import running_module
from toolkit.distributed.shards.shard import Shard
from toolkit.geometry.shard_plan import ShardPlan


class Processor:
    """Attention processors of diffusers are no modules: their module is the one that calls them."""

    def __call__(self, found: list) -> None:
        found.append(running_module())


class Inner(nn.Module):
    def forward(self, found: list) -> None:
        found.append(running_module())
        Processor()(found)

    def fails(self) -> None:
        raise ValueError


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, found: list) -> None:
        found.append(running_module())
        self.inner(found)
        try:
            self.inner.fails()
        except ValueError:
            found.append(running_module())

    def decode(self, found: list) -> None:
        """A method that is not forward, and no hook would see."""
        found.append(running_module())


def test_the_innermost_module_whose_code_runs():
    outer, found = Outer(), []
    outer(found)
    outer.decode(found)
    assert [id(module) for module in found] == [id(one) for one in (outer, outer.inner, outer.inner, outer, outer)]
    assert running_module() is None


def test_inside_a_mode_it_is_the_module_that_called_the_function():
    seen = []

    class Look(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(running_module())
            return func(*args, **(kwargs or {}))

    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU())
    with Look():
        model(torch.zeros(1, 1, 4, 4))
    assert model[0] in seen
    assert model[1] in seen


def test_a_shard_names_it_as_the_model_does():
    outer = Outer()
    exchange = SimpleNamespace(member=SimpleNamespace(rank=0))
    shard, names = Shard(ShardPlan(), exchange, "aten", outer, False), []

    class Probe(nn.Module):
        def forward(self) -> str:
            return shard.module()

    names.append(Probe()())
    outer.inner = Probe()
    shard = Shard(ShardPlan(), exchange, "aten", outer, False)
    names += [outer.inner(), shard.module()]
    assert names == ["Probe", "inner", ""]
