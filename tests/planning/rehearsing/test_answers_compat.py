"""Results that are put together from an earlier call are those that torch works out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from toolkit.numerics.tensor_compat import tree_leaves
from toolkit.planning.rehearsing.answers_compat import Answers
from toolkit.planning.rehearsing.fake_tensors_compat import call_operator, without_data

aten = torch.ops.aten
CALLS: dict[str, tuple[Any, Callable[[Tensor, Tensor], tuple[Any, ...]]]] = {
    "new memory": (aten.add.Tensor, lambda x, y: (x, y)),
    "a number": (aten.mul.Tensor, lambda x, y: (x, 2.0)),
    "a view": (aten.slice.Tensor, lambda x, y: (x, 1, 1, 3)),
    "in place": (aten.add_.Tensor, lambda x, y: (x, y)),
    "several views": (aten.split.Tensor, lambda x, y: (x, 2, 1)),
    "several results": (aten.native_layer_norm.default, lambda x, y: (x, [6], None, None, 1e-5)),
    "a list of tensors": (aten.cat.default, lambda x, y: ([x, y], 1)),
    "no tensor": (aten.full.default, lambda x, y: ([2, 3], 1.0)),
    "another shape of the same tensor": (aten.unsqueeze_.default, lambda x, y: (x, 0)),
    "where the argument says": (aten.as_strided.default, lambda x, y: (x, [2], [1], 3)),
}


def described(out: Any, x: Tensor, y: Tensor) -> list[Any]:
    """A result by all that a script depends on: its form, and whose memory it is on."""
    owners = [x.untyped_storage(), y.untyped_storage()]
    return [
        (
            type(one),
            one.shape,
            one.stride(),
            one.storage_offset(),
            one.dtype,
            one.device,
            one is x,
            [one.untyped_storage() is owner for owner in owners],
            one.untyped_storage().nbytes(),
        )
        for one in tree_leaves(out)
    ]


@pytest.mark.parametrize("name", CALLS)
def test_an_answer_is_what_torch_returns(name: str) -> None:
    func, arguments = CALLS[name]
    answers = Answers()
    with torch.no_grad(), without_data():
        found = []
        # The second and third call are answered; the third is on views that begin elsewhere in their memory.
        for begin in (0, 0, 12):
            pair = [torch.empty(60)[begin : begin + 24].view(4, 6) for _ in range(4)]
            out, _ = answers.call(func, arguments(*pair[:2]), {})
            found.append(
                (described(out, *pair[:2]), described(call_operator(func, arguments(*pair[2:]), {}), *pair[2:]))
            )
    for got, expected in found:
        assert got == expected


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0.0, -0.0)])
def test_arguments_that_are_equal_but_not_the_same_are_told_apart(one: Any, other: Any) -> None:
    answers = Answers()
    with torch.no_grad(), without_data():
        x = torch.empty(3, dtype=torch.int64)
        for value in (one, other, one, other):
            out, answer = answers.call(aten.mul.Tensor, (x, value), {})
            assert answer.call is not None
            assert answer.call.args[1] is value or answer.call.args[1] == value
            assert out.dtype == call_operator(aten.mul.Tensor, (x, value), {}).dtype
            assert answer.key.endswith(f"{value})")


def test_nothing_is_put_together_of_signs_that_are_still_to_be_applied() -> None:
    answers = Answers()
    with torch.no_grad(), without_data():
        x = torch.empty(3, dtype=torch.complex64)
        for _ in range(2):
            conjugate, answer = answers.call(aten._conj.default, (x,), {})
            assert conjugate.is_conj()
            assert answer.results is None
