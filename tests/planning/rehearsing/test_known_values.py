"""Values without data: what follows from no weight and no input is known, and everything else is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.rehearsed import answered
from torch import Tensor

from toolkit.errors import ModelError
from toolkit.planning.rehearsing.fake_tensors_compat import is_fake, without_data
from toolkit.planning.rehearsing.known_values import MOST, KnownValues

REFUSAL = "asks for the values of a tensor that follows from weights or inputs"


def rehearsed(function: Callable[[Tensor], Any]) -> Any:
    """What a function returns in a rehearsal; it is given a tensor of 4 x 3 unknown values."""
    with without_data():
        return answered(lambda: function(torch.empty(4, 3)), KnownValues())


def masked(index: Tensor) -> Tensor:
    frames = torch.zeros(5)
    frames[index == 3] = 7.0
    return frames


def written_through_views(start: Tensor) -> Tensor:
    table = start.repeat(3, 1)
    table[1].add_(10)
    table.view(-1)[-1] = 99
    return table


KNOWN: dict[str, tuple[Callable[[], Tensor], Any]] = {
    "a range": (lambda: torch.arange(1, 8, 3), [1, 4, 7]),
    "a list": (lambda: torch.tensor([3, 1, 2]).sort().values, [1, 2, 3]),
    "arithmetic": (lambda: torch.linspace(0, 1, 3).mul(4).to(torch.int64) + 1, [1, 3, 5]),
    "a comparison": (lambda: torch.arange(4) >= 2, [False, False, True, True]),
    "where": (lambda: torch.where(torch.arange(4) % 2 == 0, torch.arange(4), -1), [0, -1, 2, -1]),
    "views": (lambda: torch.arange(6).view(2, 3).mT[1:, :1].flatten(), [1, 2]),
    "a write in place": (lambda: torch.tensor([3, 4]).add_(1), [4, 5]),
    "a write through a mask": (lambda: masked(torch.arange(5)), [0, 0, 0, 7, 0]),
    "writes through views": (lambda: written_through_views(torch.arange(2)), [[0, 1], [10, 11], [0, 99]]),
    "places that are found": (lambda: (torch.arange(6) % 3 == 1).nonzero().flatten(), [1, 4]),
    "a copy": (lambda: torch.zeros(2).copy_(torch.arange(2)), [0, 1]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_follows_from_no_tensor_without_values_is_known(name: str) -> None:
    make, expected = KNOWN[name]

    def function(_: Tensor) -> Any:
        value = make()
        return is_fake(value), value.tolist()

    assert rehearsed(function) == (True, expected)


def test_a_loop_and_a_branch_go_the_way_of_a_run() -> None:
    def steps(_: Tensor) -> list[int]:
        taken = []
        for step in torch.arange(9, 0, -2):
            if step % 3 == 0:
                continue
            taken.append(int(step))
        return taken

    assert rehearsed(steps) == [7, 5, 1]


def test_equal_tensors_are_known_to_be_equal() -> None:
    assert rehearsed(lambda _: torch.equal(torch.arange(2), torch.tensor([0, 1]))) is True
    assert rehearsed(lambda _: torch.equal(torch.arange(2), torch.tensor([0, 2]))) is False


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x[0, 0].item(),
        lambda x: bool(x.sum() > 0),
        lambda x: int(x.argmax()),
        lambda x: x.tolist(),
        lambda x: torch.equal(x, x),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: (torch.arange(3) + x)[0, 0].item(),
    ],
)
def test_what_depends_on_data_is_refused(ask: Callable[[Tensor], Any]) -> None:
    with pytest.raises(ModelError, match=REFUSAL) as refusal:
        rehearsed(ask)
    assert str(refusal.value).startswith("aten.")
    assert str(refusal.value).endswith("so it cannot be rehearsed. Measure a run instead.")


def overwritten(known: Tensor, x: Tensor) -> Tensor:
    known.copy_(x[0])
    return known


def overwritten_through_a_view(known: Tensor, x: Tensor) -> Tensor:
    known[1:2].copy_(x[0, :1])
    return known


def overwritten_below_a_view(known: Tensor, x: Tensor) -> Tensor:
    view = known.view(3, 1)
    known.add_(x[0])
    return view


def overwritten_in_one_place(known: Tensor, x: Tensor) -> Tensor:
    known[1] = x[0, 0]
    return known


def overwritten_where_x_is_positive(known: Tensor, x: Tensor) -> Tensor:
    return known.masked_fill_(x[0] > 0, 1.0)


def overwritten_by_noise(known: Tensor, _: Tensor) -> Tensor:
    return known.normal_()


@pytest.mark.parametrize(
    "write",
    [
        overwritten,
        overwritten_through_a_view,
        overwritten_below_a_view,
        overwritten_in_one_place,
        overwritten_where_x_is_positive,
        overwritten_by_noise,
    ],
)
def test_a_known_tensor_that_is_overwritten_by_unknown_values_is_forgotten(
    write: Callable[[Tensor, Tensor], Tensor],
) -> None:
    def function(x: Tensor) -> float:
        known = torch.zeros(3)
        assert known[0].item() == 0.0
        return write(known, x).flatten()[0].item()

    with pytest.raises(ModelError, match=REFUSAL):
        rehearsed(function)


def test_a_copy_made_before_the_write_is_still_known() -> None:
    def function(x: Tensor) -> list[float]:
        known = torch.ones(3)
        before = known.clone()
        known.copy_(x[0])
        return before.tolist()

    assert rehearsed(function) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.rand(2),
        lambda: torch.randn(2),
        lambda: torch.randperm(2),
        lambda: torch.randint(5, (2,)),
        lambda: torch.rand_like(torch.ones(2)),
        lambda: torch.bernoulli(torch.ones(2)),
        lambda: torch.empty(2),
        lambda: torch.empty_like(torch.ones(2)),
        lambda: torch.ones(2).new_empty(2),
        lambda: torch.empty_strided((2,), (1,)),
    ],
)
def test_random_numbers_and_fresh_memory_are_not_known(make: Callable[[], Tensor]) -> None:
    with pytest.raises(ModelError, match=REFUSAL):
        rehearsed(lambda _: make()[0].item())


@pytest.mark.parametrize(
    "make",
    [
        lambda size: torch.arange(size),
        lambda size: torch.zeros(size),
        lambda size: torch.zeros(1, size),
        lambda size: torch.zeros(1).repeat(size),
        lambda size: torch.zeros(1).expand(size),
    ],
)
def test_values_are_kept_of_small_tensors_only(make: Callable[[int], Tensor]) -> None:
    assert rehearsed(lambda _: make(MOST).flatten()[0].item()) == 0
    with pytest.raises(ModelError, match=REFUSAL):
        rehearsed(lambda _: make(MOST + 1).flatten()[0].item())


def test_tensors_that_no_memory_holds_are_not_computed() -> None:
    assert rehearsed(lambda _: torch.full((10**7, 10**6), 1.0).shape) == (10**7, 10**6)
    assert rehearsed(lambda _: torch.arange(10**13).shape) == (10**13,)


def test_a_known_mask_selects_as_much_as_in_a_run() -> None:
    def shapes(x: Tensor) -> list[tuple[int, ...]]:
        rows, cells = torch.arange(4) != 1, torch.arange(12).view(4, 3) % 4 == 0
        selected = (x[rows], x[:, torch.tensor([True, False, True])], x[cells], x[rows, 1:], x[torch.zeros(4) > 0])
        return [tuple(one.shape) for one in selected]

    assert rehearsed(shapes) == [(3, 3), (4, 2), (3,), (3, 2), (0, 3)]


@pytest.mark.parametrize(
    "write",
    [
        lambda known, x: torch.add(x, x, out=known),
        lambda known, x: torch._foreach_add_([known], [x]),
        lambda known, x: known.resize_(8, 3),
    ],
    ids=["out=", "a list", "resized"],
)
def test_writes_of_every_form_are_noticed(write: Callable[[Tensor, Tensor], Any]) -> None:
    def ask(x: Tensor) -> float:
        known = torch.zeros(4, 3)
        write(known, x)
        return known[0, 0].item()

    with pytest.raises(ModelError, match=REFUSAL):
        rehearsed(ask)


def test_a_large_result_of_small_tensors_is_not_computed() -> None:
    rows = 3_000_000

    def shape(_: Tensor) -> tuple[int, ...]:
        index = torch.arange(MOST)
        return tuple((index[:, None] >= index.repeat(1)).repeat(rows, 1).shape)

    # In memory this would take hundreds of terabytes.
    assert rehearsed(shape) == (rows * MOST, MOST)


def test_a_tensor_with_data_is_known_and_joins_those_without() -> None:
    """What the code of a call holds on to: a mask of a callback, bytes of a message."""
    held = torch.frombuffer(bytearray(b"\1\2\3"), dtype=torch.uint8)
    assert rehearsed(lambda _: (held + 1).tolist()) == [2, 3, 4]
    assert rehearsed(lambda x: tuple((x * held).shape)) == (4, 3)
    assert rehearsed(lambda x: tuple(x[:, held > 1].shape)) == (4, 2)
    with pytest.raises(ModelError, match=REFUSAL):
        rehearsed(lambda x: (x * held)[0, 0].item())


@pytest.mark.parametrize(
    "write",
    [
        lambda held, x: held.add_(1),
        lambda held, x: held.copy_(x[0]),
        lambda held, x: held[1:].zero_(),
        lambda held, x: torch.add(x[0], 1, out=held),
    ],
    ids=["known values", "unknown values", "through a view", "out="],
)
def test_a_tensor_with_data_keeps_it_and_is_forgotten_when_it_is_written_to(
    write: Callable[[Tensor, Tensor], Any],
) -> None:
    held = torch.ones(3)

    def ask(x: Tensor) -> float:
        write(held, x)
        return held[1].item()

    with pytest.raises(ModelError, match=REFUSAL):
        rehearsed(ask)
    assert held.tolist() == [1, 1, 1]
    assert rehearsed(lambda _: held[1].item()) == 1
