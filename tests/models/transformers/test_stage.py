"""One stage: what it leaves as it was, what it calls and when, and what of a call it refuses."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.hooks import HookRegistry, ModelHook
from support.chains import chain, same, splits_of, tensors
from torch import nn

import toolkit as tk
from toolkit.models.transformers.stage import Stage
from toolkit.models.transformers.transformer_census import transformer


def given(name: str) -> tuple[Any, dict[str, Any]]:
    specimen = transformer(name)
    return specimen.build(), specimen.inputs()


def found(model: nn.Module) -> list[tuple[str, int, Any]]:
    """Every module by its name, and the calls that were set on it."""
    return [(name, id(module), vars(module).get("forward")) for name, module in model.named_modules()]


def check_every_cut(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
    with torch.no_grad():
        whole = model(*args, **kwargs)
    for split in splits_of(model):
        assert same(chain(model, split, *args, **kwargs), whole), split
    return whole


@pytest.mark.parametrize("fails", ["prologue", "receive", "layer", "epilogue"])
@torch.no_grad()
def test_a_model_is_as_it_was_found_whatever_happens(fails: str) -> None:
    model, inputs = given("Flux")
    payload = Stage(model, tk.Span(0, 2))(None, **inputs)
    before, whole = found(model), model(**inputs)

    def fail(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt(fails)

    places = {"prologue": "x_embedder", "layer": "transformer_blocks.1.ff", "epilogue": "norm_out"}
    hook = model.get_submodule(places.get(fails, "")).register_forward_pre_hook(fail) if fails in places else None
    stages = {"layer": Stage(model, tk.Span(0, 3)), "prologue": Stage(model, tk.Span(0, 2))}
    stage = stages.get(fails, Stage(model, tk.Span(2, 5)))
    with pytest.raises(KeyboardInterrupt, match=fails):
        stage(None if stage.first else (fail if fails == "receive" else lambda: payload), **inputs)
    if hook is not None:
        hook.remove()
    assert found(model) == before
    assert same(model(**inputs), whole)


@torch.no_grad()
def test_stages_of_one_model_take_turns() -> None:
    model, first = given("HunyuanVideo")
    second = transformer("HunyuanVideo").inputs(scale=2, seed=7)
    whole = [model(**inputs) for inputs in (first, second)]
    stages = [Stage(model, tk.Span(a, b)) for a, b in ((0, 1), (1, 3), (3, 5))]
    a = stages[0](None, **first)
    b = stages[0](None, **second)
    a = stages[1](lambda: a, **first)
    assert same(model(**second), whole[1])
    b = stages[1](lambda: b, **second)
    assert same(stages[2](lambda: b, **second), whole[1])
    assert same(stages[2](lambda: a, **first), whole[0])


@torch.no_grad()
def test_what_comes_before_the_layers_overlaps_the_wait() -> None:
    model, inputs = given("Wan")
    payload = Stage(model, tk.Span(0, 2))(None, **inputs)
    seen: list[str] = []
    for name in ("patch_embedding", "condition_embedder", "blocks.1", "blocks.2", "blocks.3", "proj_out"):
        model.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: seen.append(name))

    def receive() -> Any:
        seen.append("receive")
        return payload

    Stage(model, tk.Span(2, 3))(receive, **inputs)
    assert seen == ["patch_embedding", "condition_embedder", "receive", "blocks.2"]


@torch.no_grad()
def test_what_came_before_is_let_go_of_while_waiting() -> None:
    model, inputs = given("Wan")
    payload = Stage(model, tk.Span(0, 2))(None, **inputs)
    embedded: list[weakref.ref[torch.Tensor]] = []
    model.patch_embedding.register_forward_hook(lambda _, __, output: embedded.append(weakref.ref(output)))

    def receive() -> Any:
        assert embedded[0]() is None
        return payload

    Stage(model, tk.Span(2, 3))(receive, **inputs)
    assert len(embedded) == 1


@torch.no_grad()
def test_the_payload_is_what_the_layer_returned_itself() -> None:
    model, inputs = given("LTX2")
    returned: list[Any] = []
    model.transformer_blocks[1].register_forward_hook(lambda _, __, output: returned.append(output))
    assert Stage(model, tk.Span(0, 2))(None, **inputs) is returned[0]
    assert len(tensors(returned[0])) == 2


def test_arguments_by_position_and_an_output_class() -> None:
    model, inputs = given("Wan")
    names = ("hidden_states", "timestep", "encoder_hidden_states")
    whole = check_every_cut(model, *(inputs[name] for name in names), return_dict=True)
    assert type(whole).__name__ == "Transformer2DModelOutput"


@pytest.mark.parametrize("residuals", [1, 2, 3])
def test_residuals_of_a_controlnet_flux(residuals: int) -> None:
    model, inputs = given("Flux")
    torch.manual_seed(5)
    double = [torch.randn(1, 16, 64) for _ in range(min(residuals, 2))]
    single = [torch.randn(1, 16, 64) for _ in range(residuals)]
    whole = check_every_cut(model, **inputs, controlnet_block_samples=double, controlnet_single_block_samples=single)
    assert not same(whole, model(**inputs))


def test_residuals_of_a_controlnet_sd3() -> None:
    model, inputs = given("SD3")
    torch.manual_seed(5)
    whole = check_every_cut(model, **inputs, block_controlnet_hidden_states=[torch.randn(1, 64, 64) for _ in range(2)])
    assert not same(whole, model(**inputs))


class LowRank(nn.Module):
    """A linear layer with an adapter, in the linear layer's place, as libraries of adapters put it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base
        self.down = nn.Linear(base.in_features, 2, bias=False)
        self.up = nn.Linear(2, base.out_features, bias=False)

    def forward(self, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return self.base_layer(x) + self.up(self.down(x))


@pytest.mark.parametrize("name", ["Wan", "Flux", "QwenImage"])
def test_adapters_within_layers_put_there_after_the_stages(name: str) -> None:
    model, inputs = given(name)
    stages = [Stage(model, span) for span in tk.StageSplit.even(4 if name != "Flux" else 5, 2).stages]
    with torch.no_grad():
        plain = model(**inputs)
        torch.manual_seed(3)
        for path, module in list(model.named_modules()):
            if path.endswith(("to_q", "to_k")):
                model.set_submodule(path, LowRank(module))
        whole = check_every_cut(model, **inputs)
        payload = stages[0](None, **inputs)
        assert same(stages[1](lambda: payload, **inputs), whole)
    assert not same(whole, plain)


class Scaled(ModelHook):
    """Doubles the latents on their way in: the root's hook of a parallelism, say."""

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return args, {**kwargs, "hidden_states": 2 * kwargs["hidden_states"]}


class Shifted(ModelHook):
    """Adds to what a module returns."""

    def post_forward(self, module: nn.Module, output: torch.Tensor) -> torch.Tensor:
        return output + 1


def test_hooks_of_the_root_and_of_layers_apply_once() -> None:
    model, inputs = given("Wan")
    with torch.no_grad():
        plain = model(**inputs)
    HookRegistry.check_if_exists_or_initialize(model).register_hook(Scaled(), "cp_input---")
    for name in ("blocks.0", "blocks.2", "blocks.3", "proj_out"):
        registry = HookRegistry.check_if_exists_or_initialize(model.get_submodule(name))
        registry.register_hook(Shifted(), f"cp_output---{name}")
    calls: list[int] = []
    model.blocks[1].register_forward_hook(lambda _, __, output: calls.append(1) or output * 2)
    assert not same(check_every_cut(model, **inputs), plain)
    assert len(calls) == 1 + len(list(splits_of(model)))
    model.blocks[1]._forward_hooks.clear()
    staged = tk.virtual(tk.StageSplit.even(4, 3), model)
    with torch.no_grad():
        assert same(staged(**inputs), model(**inputs))


def test_layers_that_are_compiled_in_place() -> None:
    model, inputs = given("Wan")
    for block in model.blocks:
        block.compile(backend="eager", fullgraph=True)
    check_every_cut(model, **inputs)


def test_a_layer_whose_call_was_replaced() -> None:
    model, inputs = given("SD3")
    for block in model.transformer_blocks:
        block.forward = functools.partial(doubling, block.forward)
    check_every_cut(model, **inputs)


def doubling(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    encoded, hidden = forward(*args, **kwargs)
    return encoded, 2 * hidden


@pytest.mark.parametrize(("span", "what"), [((0, 2), "went on beyond"), ((2, 4), "did not come to the layer before")])
@torch.no_grad()
def test_a_layer_at_the_border_that_a_call_skips(span: tuple[int, int], what: str) -> None:
    model, inputs = given("SD3")
    payload = Stage(model, tk.Span(0, 2))(None, **inputs)
    stage = Stage(model, tk.Span(*span))
    before = found(model)
    with pytest.raises(tk.ModelError, match=f"{what}.*skip_layers.*move the cut"):
        stage(None if stage.first else lambda: payload, **inputs, skip_layers=[1])
    assert found(model) == before


@torch.no_grad()
def test_the_rest_of_the_layers_skipped() -> None:
    model, inputs = given("SD3")
    with pytest.raises(tk.ModelError, match=r"ended without transformer_blocks\.2"):
        Stage(model, tk.Span(0, 3))(None, **inputs, skip_layers=[2, 3])
    assert same(
        chain(model, tk.StageSplit.at([2], 4), **inputs, skip_layers=[0, 3]), model(**inputs, skip_layers=[0, 3])
    )


def test_gradient_checkpointing() -> None:
    model, inputs = given("Wan")
    model.enable_gradient_checkpointing()
    check_every_cut(model, **inputs)
    with pytest.raises(tk.ModelError, match=r"gradient checkpointing.*torch\.no_grad\(\)"):
        Stage(model, tk.Span(0, 2))(None, **inputs)


def test_who_receives() -> None:
    model, inputs = given("Wan")
    first, last = Stage(model, tk.Span(0, 2)), Stage(model, tk.Span(2, 4))
    assert (first.first, first.last, last.first, last.last) == (True, False, False, True)
    assert repr(last) == "Stage(WanTransformer3DModel, layers 2:4 of 4)"
    with pytest.raises(tk.PlanError, match="the first stage receives nothing"):
        first(lambda: None, **inputs)
    with pytest.raises(tk.PlanError, match="the first stage receives nothing"):
        last(None, **inputs)


@pytest.mark.parametrize("span", [(0, 5), (4, 4), (2, 2), (5, 6)])
def test_a_span_that_is_not_the_transformers(span: tuple[int, int]) -> None:
    with pytest.raises(tk.PlanError, match=r"it has 4 layers, 0:4"):
        Stage(transformer("Wan").build(), tk.Span(*span))
