"""Tensors without data: a rehearsal meets the operators of a run, in the same order, shapes and strides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.rehearsed import CPU, answered, written
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import toolkit as tk
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.decoding import run_as
from toolkit.geometry.plan import Plan, or_whole
from toolkit.models.autoencoders.autoencoder_table import AUTOENCODER_ENTRIES
from toolkit.models.autoencoders.census import CENSUS, specimen
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.numerics.tensor_compat import tree_leaves, tree_map
from toolkit.planning.rehearsing.fake_tensors_compat import call_operator, fake_copy, fake_like, is_fake, without_data
from toolkit.planning.rehearsing.known_values import KnownValues
from toolkit.planning.rehearsing.operator_call import OperatorCall, TensorSpec, computes
from toolkit.planning.rehearsing.rehearse import rehearse
from toolkit.planning.rehearsing.script import Compute

aten = torch.ops.aten
Outcome = list[str] | tuple[type[Exception], str]
"""The operators of a call, or how it was refused."""


class Log(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[OperatorCall] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if computes(func):
            self.calls.append(OperatorCall.of(func, args, kwargs or {}, out))
        return out


def described(call: OperatorCall) -> str:
    """An operator by all that its cost depends on."""
    if call.name == "aten.index.Tensor":
        # A rehearsal has integers where a run has truth values.
        return call.name
    args, kwargs = tree_map(comparable, (call.args, call.kwargs))
    return f"{call.name} {args} {sorted(kwargs.items())} {call.work}"


def comparable(value: Any) -> Any:
    # No kernel steps along a dim of size 1, so its stride means nothing.
    if not isinstance(value, TensorSpec):
        return value
    return replace(value, stride=tuple(step for step, size in zip(value.stride, value.shape, strict=True) if size > 1))


def run(model: Any, x: Tensor, plan: Plan | None, call: ModelCall) -> Outcome:
    try:
        with Log() as log, torch.no_grad():
            run_as(Rank.alone(), model, x, or_whole(plan), call)
    except tk.ToolkitError as error:
        return type(error), str(error)
    return [described(one) for one in log.calls]


def rehearsed(copy: Any, x: Tensor, plan: Plan | None, call: ModelCall, values: KnownValues) -> Outcome:
    """Call it inside ``without_data``, with a copy of the model."""
    given, alike = fake_like(x, CPU), fake_copy(call, CPU, values)
    try:
        script = written(lambda rank: run_as(rank, copy, given, or_whole(plan), alike), values)
    except tk.ToolkitError as error:
        return type(error), str(error)
    texts = {key: described(one) for key, one in script.operators.items()}
    return [texts[step.key] for step in script.steps if isinstance(step, Compute)]


@pytest.mark.parametrize("name", CENSUS)
def test_a_rehearsal_calls_the_operators_of_a_run(name: str) -> None:
    one = specimen(name)
    model, refused = one.build(), AUTOENCODER_ENTRIES[one.cls].no_shards
    decode = one.latent(5, 4), ModelCall("decode", tk.Options(arguments=one.call, seed=0))
    encode = one.sample(5, 4), ModelCall("encode", tk.Options(seed=0))
    cases = [(x, plan, call) for x, call in (decode, encode) for plan in (None, tk.ShardPlan())]
    real = [run(model, *case) for case in cases]
    assert [isinstance(outcome, tuple) for outcome in real] == [
        plan is not None and call.direction in refused for _, plan, call in cases
    ]
    values = KnownValues()
    with without_data():
        copy = fake_copy(model, CPU, values)
        for (x, plan, call), expected in zip(cases, real, strict=True):
            assert rehearsed(copy, x, plan, call, values) == expected, f"{call.direction} by {plan}"


def strided(shape: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    return torch.empty_strided(shape, stride)


def last(*shape: int) -> Tensor:
    """Channels last."""
    return torch.randn(shape).to(memory_format=torch.channels_last if len(shape) == 4 else torch.channels_last_3d)


ODD = ((1, 64, 20, 24), (64, 1, 1536, 64))
"""Channels last, but for the stride of a batch of one."""
GROUPS = 2
OPERATORS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "times a number": lambda: (aten.mul.Tensor, strided(*ODD), 2.0),
    "plus a tensor without dims": lambda: (aten.add.Tensor, strided(*ODD), torch.tensor(2.0)),
    "plus a tensor of another format": lambda: (aten.add.Tensor, strided(*ODD), torch.randn(ODD[0])),
    "dims in another order": lambda: (aten.div.Tensor, strided((3, 1, 2, 5), (2, 1, 1, 6)), 2.0),
    "rows that share memory": lambda: (aten.mul.Tensor, strided((2, 2), (0, 3)), 2.0),
    "elements that share memory": lambda: (aten.mul.Tensor, strided((2, 2), (6, 6)), 2.0),
    "zeros like": lambda: (aten.zeros_like.default, strided(*ODD)),
    "noise like, of one column": lambda: (aten.randn_like.default, strided((1, 8, 3, 1), (8, 1, 8, 7))),
    "zeros like what has gaps": lambda: (aten.zeros_like.default, last(2, 8, 6, 5)[:, :4]),
    "a view": lambda: (aten.view.default, strided((1, 4, 6), (7, 6, 1)), [1, 2, 2, 6]),
    "norm, channels last": lambda: (
        aten.native_group_norm.default, last(2, 4, 3, 5), None, None, 2, 4, 15, GROUPS, 1e-6
    ),
    "norm, contiguous": lambda: (
        aten.native_group_norm.default, torch.randn(2, 4, 3, 5), None, None, 2, 4, 15, GROUPS, 1e-6
    ),
    "norm of a video": lambda: (
        aten.native_group_norm.default, last(1, 4, 2, 3, 5), None, None, 1, 4, 30, GROUPS, 1e-6
    ),
    "padding": lambda: (aten.replication_pad3d.default, last(1, 4, 2, 3, 5), [1, 1, 1, 1, 2, 0]),
    "padding, contiguous": lambda: (aten.replication_pad3d.default, torch.randn(1, 4, 2, 3, 5), [1, 1, 1, 1, 2, 0]),
    "oneDNN, input channels last": lambda: (
        aten.mkldnn_convolution.default, last(2, 4, 6, 5), torch.randn(8, 2, 3, 3), None, [1, 0], [2, 1], [1, 1], GROUPS
    ),
    "oneDNN, weight channels last": lambda: (
        aten.mkldnn_convolution.default, torch.randn(2, 4, 6, 5), last(8, 4, 3, 3), None, [1, 0], [2, 1], [1, 1], 1
    ),
    "oneDNN, contiguous": lambda: (
        aten.mkldnn_convolution.default, torch.randn(2, 4, 6, 5), torch.randn(8, 4, 3, 3), None, [1, 0], [2, 1], [1, 2],
        1,
    ),
    "oneDNN on a video": lambda: (
        aten.mkldnn_convolution.default, last(1, 4, 3, 6, 5), torch.randn(8, 4, 3, 3, 3), None, [0, 1, 1], [1, 1, 1],
        [1, 1, 1], 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_results_have_the_strides_of_a_run(name: str) -> None:
    func, *args = OPERATORS[name]()
    with torch.no_grad():
        real = func(*args)
    with without_data():
        given = tree_map(lambda value: fake_like(value, CPU) if isinstance(value, Tensor) else value, args)
        fake = call_operator(func, given, {})
    assert all(map(is_fake, tree_leaves(fake)))
    assert [TensorSpec.of(one) for one in tree_leaves(fake)] == [TensorSpec.of(one) for one in tree_leaves(real)]


def test_a_memory_format_that_is_asked_for_counts_more_than_that_of_the_input() -> None:
    with without_data():
        given = fake_like(last(2, 4, 3, 5), CPU)
        made = call_operator(aten.zeros_like.default, (given,), {"memory_format": torch.contiguous_format})
    assert made.stride() == (60, 15, 5, 1)


def copied(model: Any) -> Any:
    with without_data():
        return fake_copy(model, CPU, KnownValues())


def asked(model: Any, ask: Callable[[Any], Any]) -> Any:
    """The answer to a question that a rehearsal asks of a copy of the model."""
    values = KnownValues()
    with without_data():
        copy = fake_copy(model, CPU, values)
        return answered(lambda: ask(copy), values)


def test_a_copy_leaves_the_model_as_it_was() -> None:
    model = specimen("AutoencoderKLWan_2.1").build().train()
    before = {name: (value, value.clone()) for name, value in model.state_dict(keep_vars=True).items()}
    copy = copied(model)
    after = model.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is value and torch.equal(value, data) for name, (value, data) in before.items())
    assert type(copy) is type(model)
    assert copy.training
    assert not [name for name, value in copy.state_dict().items() if not is_fake(value)]
    assert {name: TensorSpec.of(value) for name, value in copy.state_dict().items()} == {
        name: TensorSpec.of(value) for name, value in after.items()
    }


def test_tied_weights_stay_tied() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    copy = copied(model)
    assert isinstance(copy[0].weight, nn.Parameter)
    assert copy[2].weight is copy[0].weight
    assert copy[1].weight is not copy[0].weight
    assert len(list(copy.parameters())) == 5


def test_a_model_without_weights_is_copied_as_if_it_had_them() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    copy = copied(model)
    assert {value.device for value in copy.state_dict().values()} == {CPU}
    assert {value.device.type for value in model.state_dict().values()} == {"meta"}
    assert [TensorSpec.of(value) for value in copy.state_dict().values()] == [
        TensorSpec.of(value) for value in model.state_dict().values()
    ]


def test_a_rehearsal_needs_no_weights() -> None:
    one, shape = specimen("AutoencoderKL"), (1, 4, 5, 4)
    real, meta = one.build(), one.build().to("meta")
    (with_weights,), (without,) = rehearse(real, shape).scripts, rehearse(meta, shape).scripts
    assert len(with_weights.steps) > 50
    assert without.steps == with_weights.steps
    assert without.allocated == with_weights.allocated


def test_small_buffers_are_known_and_weights_are_not() -> None:
    model = nn.BatchNorm1d(3)
    model.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    assert asked(model, lambda copy: copy.running_mean.tolist()) == [1.0, 2.0, 3.0]
    with pytest.raises(tk.ModelError, match="asks for the values"):
        asked(model, lambda copy: copy.weight.tolist())


def test_what_a_rehearsal_writes_to_a_buffer_stays_in_the_copy() -> None:
    model = nn.BatchNorm1d(3)
    assert asked(model, lambda copy: copy.num_batches_tracked.add_(1).item()) == 1
    assert model.num_batches_tracked.item() == 0


def test_a_scheduler_keeps_its_values_and_its_state() -> None:
    one = specimen("ConsistencyDecoderVAE")
    model = one.build()
    scheduler = model.decoder_scheduler
    before, skips = dict(vars(scheduler)), scheduler.c_skip.tolist()
    copy = copied(model).decoder_scheduler
    assert type(copy) is type(scheduler)
    assert is_fake(copy.c_skip)
    assert asked(model, lambda copy: copy.decoder_scheduler.c_skip.tolist()) == skips
    rehearse(model, one.latent(5, 4))
    # A run leaves its timesteps in the scheduler.
    assert "timesteps" not in before
    assert vars(scheduler).keys() == before.keys()
    assert all(vars(scheduler)[name] is value for name, value in before.items())
    assert scheduler.c_skip.tolist() == skips


def test_generators_are_shared_wherever_they_are() -> None:
    """They cannot be copied without data, and nothing draws from them."""
    one, two = torch.Generator(), torch.Generator()
    layer = nn.Dropout()
    layer.draws = [two]
    with without_data():
        call = fake_copy({"generator": [one, two], "more": {"of": (one,)}}, CPU, KnownValues())
        copy = fake_copy(layer, CPU, KnownValues())
    assert call == {"generator": [one, two], "more": {"of": (one,)}}
    assert copy.draws == [two]
