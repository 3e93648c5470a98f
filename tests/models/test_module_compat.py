"""If one of these fails after an update of torch, mend toolkit/models/module_compat.py: a private name has moved."""

import torch
from torch import nn

from toolkit.models.module_compat import (
    copy_with_own_children,
    copy_with_own_parameters,
    copy_without_hooks,
    has_forward_hooks,
    is_compiled,
    is_compiled_function,
    map_tensors,
    original,
    put_parameter_first,
)


def fail(*_: object) -> None:
    raise AssertionError("a hook ran")


def test_a_copy_without_hooks_runs_forward_alone():
    linear = nn.Linear(2, 3)
    x = torch.ones(2)
    expected = linear(x)
    linear.register_forward_pre_hook(fail)
    linear.register_forward_hook(fail)
    linear.register_full_backward_hook(fail)
    linear.compile(backend=fail)
    twin = copy_without_hooks(linear)
    assert torch.equal(twin(x), expected)
    assert twin.weight is linear.weight
    assert has_forward_hooks(linear)
    assert is_compiled(linear)
    twin.register_forward_hook(lambda *_: None)
    assert len(linear._forward_hooks) == 1


def test_a_copy_has_children_of_its_own():
    pair = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    twin = copy_with_own_children(pair)
    twin[1] = nn.Tanh()
    assert isinstance(pair[1], nn.ReLU)
    assert isinstance(twin.get_submodule("1"), nn.Tanh)
    assert twin[0] is pair[0]
    assert [name for name, _ in twin.named_children()] == ["0", "1"]


def test_a_copy_has_parameters_of_its_own():
    linear = nn.Linear(2, 2)
    weight, bias = linear.weight, linear.bias
    twin = copy_with_own_parameters(linear)
    twin.weight = nn.Parameter(torch.ones(3, 2))
    assert linear.weight is weight
    assert twin.bias is bias
    assert torch.equal(twin.weight, torch.ones(3, 2))
    assert [name for name, _ in twin.named_parameters()] == ["weight", "bias"]


def test_a_parameter_goes_before_the_others():
    linear, first = nn.Linear(2, 2), nn.Parameter(torch.empty(0))
    put_parameter_first(linear, "first", parameter=first)
    assert next(linear.parameters()) is first
    assert linear.first is first
    assert [name for name, _ in linear.named_parameters()] == ["first", "weight", "bias"]


def test_tensors_are_mapped_in_place_and_stay_tied():
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    other.weight = one.weight
    pair = nn.Sequential(one, other, nn.BatchNorm1d(2))
    assert map_tensors(pair, lambda x: x.double() if x.is_floating_point() else x) is pair
    assert {x.dtype for x in pair.parameters()} == {torch.float64}
    assert pair[2].running_mean.dtype == torch.float64
    assert one.weight is other.weight


def test_meta_tensors_may_be_mapped():
    linear = nn.Linear(2, 2, device="meta")
    map_tensors(linear, lambda x: x)
    assert linear.weight.is_meta


def test_compiled_modules_are_told():
    linear = nn.Linear(2, 2)
    assert not is_compiled(linear)
    assert is_compiled(torch.compile(linear, backend="eager"))
    linear.compile(backend="eager")
    assert is_compiled(linear)


def test_the_module_inside_a_compiled_one():
    linear = nn.Linear(2, 2)
    assert original(torch.compile(linear, backend="eager")) is linear
    linear.compile(backend="eager")
    assert original(linear) is linear
    assert original(None) is None


def test_compiled_functions_are_told():
    linear = nn.Linear(2, 2)
    assert is_compiled_function(torch.compile(linear.forward, backend="eager"))
    assert not is_compiled_function(linear.forward)


def test_hooks_are_told():
    linear = nn.Linear(2, 2)
    assert not has_forward_hooks(linear)
    handle = linear.register_forward_pre_hook(lambda *_: None)
    assert has_forward_hooks(linear)
    handle.remove()
    linear.register_forward_hook(lambda *_: None)
    assert has_forward_hooks(linear)
