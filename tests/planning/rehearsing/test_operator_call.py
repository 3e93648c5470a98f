"""Operators by the shapes of their arguments: what their text tells apart, and calls made from it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.planning.rehearsing.fake_tensors_compat import is_fake, without_data
from toolkit.planning.rehearsing.operator_call import OperatorCall, TensorSpec, computes, key_of

aten = torch.ops.aten
CPU = torch.device("cpu")


class Last(TorchDispatchMode):
    call: OperatorCall

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.call = OperatorCall.of(func, args, kwargs or {}, out)
        return out


def described(func: Any, *args: Any, **kwargs: Any) -> OperatorCall:
    return OperatorCall.of(func, args, kwargs, func(*args, **kwargs))


def strided(shape: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty_strided(shape, stride, dtype=dtype)


X = torch.zeros(2, 3)


def test_calls_of_one_shape_have_one_text_whatever_their_values() -> None:
    assert str(described(aten.add.Tensor, X, 1.0)) == "aten.add.Tensor(float32[2,3], 1.0)"
    assert str(described(aten.add.Tensor, torch.ones(4, 3)[1:3], 1.0)) == "aten.add.Tensor(float32[2,3], 1.0)"


def test_a_text_names_strides_lists_and_keywords() -> None:
    assert str(described(aten.clone.default, strided((2, 3), (1, 2)))) == "aten.clone.default(float32[2,3/1,2])"
    assert str(described(aten.cat.default, [X, X.long()], 1)) == ("aten.cat.default([float32[2,3], int64[2,3]], 1)")
    made = described(aten.zeros.default, [2, 3], dtype=torch.float64, device=CPU)
    assert str(made) == "aten.zeros.default([2, 3], device=cpu, dtype=torch.float64)"


def test_calls_that_differ_in_cost_differ_in_text() -> None:
    calls = [
        described(aten.add.Tensor, X, 1.0),
        described(aten.add.Tensor, X, 1),
        described(aten.add.Tensor, X, 2.0),
        described(aten.add.Tensor, X, 1.0, alpha=2),
        described(aten.sub.Tensor, X, 1.0),
        described(aten.add.Tensor, torch.zeros(3, 2), 1.0),
        described(aten.add.Tensor, torch.zeros(2, 3, 1), 1.0),
        described(aten.add.Tensor, strided((2, 3), (1, 2)), 1.0),
        described(aten.add.Tensor, X[:1].expand(2, 3), 1.0),
        described(aten.add.Tensor, X.double(), 1.0),
        described(aten.add.Tensor, X.long(), 1.0),
        described(aten.add.Tensor, X, X),
        described(aten.add.Scalar, X, 1.0),
    ]
    assert len({str(call) for call in calls}) == len(calls)


CALLS = {
    "channels last": lambda: described(aten.relu.default, strided((2, 3, 4, 5), (60, 1, 15, 3))),
    "gaps": lambda: described(aten.relu.default, torch.zeros(4, 6)[::2, 1:5]),
    "expanded": lambda: described(aten.mul.Tensor, torch.zeros(3, 1).expand(3, 4), torch.zeros(1, 1).expand(3, 4)),
    "no elements": lambda: described(aten.relu.default, torch.zeros(0, 3)),
    "no dims": lambda: described(aten.relu.default, torch.tensor(1.0)),
    "half precision": lambda: described(aten.mul.Tensor, X.bfloat16(), X.half()),
    "complex": lambda: described(aten.mul.Tensor, X.to(torch.complex64), 2),
    "truth values": lambda: described(aten.where.self, X > 0, X, X.double()),
    "indices": lambda: described(aten.index.Tensor, X, [None, torch.tensor([2, 1])]),
    "a list": lambda: described(aten.cat.default, [X, strided((2, 3), (1, 2))], 1),
    "keywords": lambda: described(aten.zeros_like.default, X, dtype=torch.int32, device=CPU),
    "a memory format": lambda: described(
        aten._to_copy.default, torch.zeros(1, 2, 3, 4), dtype=torch.float64, memory_format=torch.channels_last
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_call_made_from_its_description_has_that_description(name: str) -> None:
    call = CALLS[name]()
    again = call.run_on(CPU)
    with Last() as last:
        again()
    assert (last.call.name, last.call.args, last.call.kwargs) == (call.name, call.args, call.kwargs)
    assert last.call.work == call.work
    assert str(last.call) == str(call)


def test_a_call_is_made_on_the_device_that_is_asked_for_not_the_one_described() -> None:
    call = described(aten.ones.default, [2], dtype=torch.int64, device=torch.device("meta"))
    assert call.run_on(CPU)().tolist() == [1, 1]
    assert call.run_on(torch.device("meta"))().device.type == "meta"


def test_a_call_can_be_made_again_on_the_same_arguments() -> None:
    call = described(aten.add_.Tensor, torch.zeros(3, dtype=torch.int64), 2).run_on(CPU)
    assert [call().tolist() for _ in range(2)] == [[2, 2, 2], [4, 4, 4]]


def test_integers_are_0_and_truth_values_are_true() -> None:
    assert TensorSpec((2,), (1,), "int64").make(CPU).tolist() == [0, 0]
    assert TensorSpec((2,), (1,), "uint8").make(CPU).tolist() == [0, 0]
    assert TensorSpec((2,), (1,), "bool").make(CPU).tolist() == [True, True]


def test_floating_point_values_are_drawn() -> None:
    for dtype in ("float32", "bfloat16", "complex64"):
        assert len(set(TensorSpec((64,), (1,), dtype).make(CPU).tolist())) > 32


@pytest.mark.parametrize(
    ("shape", "stride", "elements"),
    [
        ((3, 4), (4, 1), 12),
        ((3, 4), (0, 1), 4),
        ((3, 4), (0, 0), 1),
        ((3, 2), (10, 2), 23),
        ((0, 4), (4, 1), 0),
        ((), (), 1),
    ],
)
def test_memory_is_as_large_as_strides_reach(shape: tuple[int, ...], stride: tuple[int, ...], elements: int) -> None:
    made = TensorSpec(shape, stride, "float32").make(CPU)
    assert (tuple(made.shape), made.stride(), made.dtype) == (shape, stride, torch.float32)
    assert made.untyped_storage().nbytes() == 4 * elements


def test_the_text_needs_no_description() -> None:
    args = ([X, strided((2, 3), (1, 2))], 1)
    assert key_of(aten.cat.default, args, {}) == str(described(aten.cat.default, *args))


def test_a_tensor_without_values_is_made_in_the_same_way() -> None:
    with without_data():
        fake = TensorSpec((3, 4), (0, 1), "int64").empty(CPU)
    assert is_fake(fake)
    assert (tuple(fake.shape), fake.stride(), fake.dtype) == ((3, 4), (0, 1), torch.int64)


def test_a_tensor_without_data_is_described_like_one_with_data() -> None:
    with without_data():
        fake = strided((1, 3, 4, 5), (60, 1, 15, 3), torch.float16)
    assert is_fake(fake)
    assert TensorSpec.of(fake) == TensorSpec((1, 3, 4, 5), (60, 1, 15, 3), "float16")


def test_views_and_memory_without_values_take_no_time() -> None:
    idle = [
        aten.view.default, aten.permute.default, aten.slice.Tensor, aten.expand.default, aten.unbind.int,
        aten.detach.default, aten.alias.default, aten.lift_fresh.default, aten.empty.memory_format,
        aten.empty_strided.default, aten.empty_like.default, aten.new_empty.default, aten.new_empty_strided.default,
    ]  # fmt: skip
    busy = [
        aten.add.Tensor, aten.add_.Tensor, aten.copy_.default, aten.clone.default, aten.zeros.default, aten.cat.default,
        aten.native_group_norm.default, aten.add.out, aten._foreach_add_.Scalar,
    ]  # fmt: skip
    assert [str(one) for one in idle if computes(one)] == []
    assert [str(one) for one in busy if not computes(one)] == []
