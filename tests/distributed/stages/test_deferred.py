"""Deferred tensors: whatever a pipeline does with one, it meets the real one, once, and not before it must."""

import numpy as np
import pytest
import torch

from toolkit.distributed.stages.deferred import Deferred, settled


class Asked:
    """A promise that counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0
        self.value = torch.arange(6.0).reshape(2, 3)

    def __call__(self) -> torch.Tensor:
        self.times += 1
        return self.value


USES = {
    "arithmetic": lambda x: 2 * x - 1,
    "arithmetic with itself": lambda x: x + x,
    "second argument": lambda x: torch.ones(2, 3) - x,
    "within a list": lambda x: torch.cat([x, torch.zeros(1, 3), x]),
    "keyword": lambda x: torch.add(torch.ones(2, 3), other=x),
    "shape": lambda x: torch.tensor(x.shape),
    "length": lambda x: torch.tensor(len(x)),
    "parts": lambda x: torch.stack(list(x.chunk(2))),
    "iteration": lambda x: torch.stack(list(x)),
    "in place": lambda x: x.mul_(3),
    "into another": lambda x: torch.zeros(2, 3).copy_(x),
    "numpy": lambda x: torch.from_numpy(np.asarray(x) + 1),
    "matrix": lambda x: x @ torch.ones(3, 1),
    "functional": lambda x: torch.nn.functional.pad(x, (1, 1)),
    "slice and cast": lambda x: x[:, :2].to(torch.bfloat16)[..., 0].float(),
}


@pytest.mark.parametrize("use", USES.values(), ids=list(USES))
def test_a_use_meets_the_real_tensor(use):
    asked = Asked()
    result = settled(use(Deferred(asked)))
    assert asked.times == 1
    assert type(result) is torch.Tensor
    assert torch.equal(result, use(torch.arange(6.0).reshape(2, 3)))


def test_slicing_and_casting_wait():
    asked = Asked()
    part = Deferred(asked)[:, 1:].to(torch.float64).float()
    assert asked.times == 0
    assert part.shape == (2, 2)
    assert asked.times == 1


def test_what_was_cast_before_a_write_does_not_see_it():
    later = Deferred(Asked())
    cast, view = later.to(torch.float64), later[0]
    later += 1
    assert torch.equal(settled(cast), torch.arange(6.0).reshape(2, 3).double())
    assert torch.equal(settled(view), torch.tensor([1.0, 2.0, 3.0]))


def test_a_derived_one_may_be_asked_first():
    asked = Asked()
    later = Deferred(asked)
    part = later[1]
    assert torch.equal(settled(part), torch.tensor([3.0, 4.0, 5.0]))
    assert torch.equal(settled(later), asked.value)
    assert asked.times == 1


def test_settled_looks_into_containers():
    tree = {"a": [Deferred(Asked()), 3], "b": (None, "x")}
    found = settled(tree)
    assert type(found["a"][0]) is torch.Tensor
    assert found["b"] == (None, "x")
