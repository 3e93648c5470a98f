"""Proofs, what is refused with which remedy, and stages within one process."""

from __future__ import annotations

import pickle
from dataclasses import replace

import diffusers
import pytest
import torch
from diffusers.hooks import FirstBlockCacheConfig, apply_group_offloading
from support.chains import same, splits_of
from torch import Tensor, nn

import toolkit as tk
from toolkit.models.transformers import split_check
from toolkit.models.transformers.layers import layers_of
from toolkit.models.transformers.split_check import check_class, prove
from toolkit.models.transformers.splittable import check_splittable
from toolkit.models.transformers.transformer_census import transformer


class Plain(nn.Module):
    """Two layers, and what they hand on; a class that the census has not."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Layer() for _ in range(4))

    def forward(self, hidden_states: Tensor, keep: int | None = None) -> Tensor:
        seen = [hidden_states]
        for block in self.blocks:
            hidden_states = block(hidden_states)
            seen.append(hidden_states)
        return hidden_states if keep is None else hidden_states + seen[keep].mean()


class Layer(nn.Module):
    """A layer that remembers what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, hidden_states: Tensor) -> Tensor:
        hidden_states = hidden_states + self.linear(hidden_states)
        return hidden_states


def test_a_proof_says_what_crosses() -> None:
    specimen = transformer("LTX2")
    proof = prove(specimen.build(), tk.StageSplit.at([1, 3], 4), **specimen.inputs())
    assert proof.payload_bytes == (32 * 64 * 4 + 6 * 32 * 4,) * 2
    assert [shape for shape, _ in proof.payloads[0]] == [(1, 32, 64), (1, 6, 32)]
    assert [shape for shape, _ in proof.outputs] == [(1, 32, 4), (1, 6, 4)]
    assert "stage 1->2  1x32x64 float32, 1x6x32 float32: 8960 bytes" in repr(proof)


def test_latents_that_later_stages_need() -> None:
    model, x = Plain(), torch.randn(2, 4)
    assert prove(model, tk.StageSplit.even(4, 2), x).latents == "first"
    with pytest.raises(tk.NotExact, match=r"Plain.*changes with the latents that later stages are given"):
        prove(model, tk.StageSplit.even(4, 2), hidden_states=x, keep=0)


def test_values_that_pass_a_border_beside_the_payload() -> None:
    model, x = Plain(), torch.randn(2, 4)
    assert prove(model, tk.StageSplit.at([2], 4), x, keep=2).latents == "first"  # within the second stage
    with pytest.raises(tk.NotExact, match=r"3 1.*holds NaN.*a skip over layers"):
        prove(model, tk.StageSplit.at([3], 4), x, keep=2)


def test_long_skips_are_refused_at_every_cut_that_they_pass() -> None:
    specimen = transformer("HunyuanDiT")
    model = specimen.build()
    failed = 0
    for split in splits_of(model):
        try:
            prove(model, split, **specimen.inputs())
        except tk.NotExact:
            failed += 1
    assert failed >= 3
    with pytest.raises(tk.ModelError, match=r"HunyuanDiT2DModel cannot run in stages: .*a skip over layers"):
        check_class(model)


class Uneven(Plain):
    """Adds noise of its own."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        for block in self.blocks:
            hidden_states = block(hidden_states)
        return hidden_states + torch.rand(())


class Counting(Plain):
    """Tells a layer of another stage from its own, and makes nothing of it."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        lost = 0.0
        for block in self.blocks:
            hidden_states = block(hidden_states)
            lost += float(hidden_states.isnan().any())
        return hidden_states + lost


def test_an_output_that_differs_without_nan() -> None:
    with pytest.raises(tk.NotExact, match=r"Counting in .*: the output differs from the whole's"):
        prove(Counting(), tk.StageSplit.even(4, 2), torch.randn(2, 4))


class Twice(Plain):
    """Goes through its layers two times."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        for _ in range(2):
            for block in self.blocks:
                hidden_states = block(hidden_states)
        return hidden_states


def test_layers_that_are_called_twice() -> None:
    with pytest.raises(tk.ModelError, match="calls the layer before it twice"):
        prove(Twice(), tk.StageSplit.even(4, 2), torch.randn(2, 4))


def test_a_model_that_does_not_repeat_itself() -> None:
    with pytest.raises(tk.NotExact, match=r"does not give the same twice.*transformer\.eval\(\)"):
        prove(Uneven(), tk.StageSplit.even(4, 2), torch.ones(2, 4))


def test_an_output_that_is_not_finite() -> None:
    with pytest.raises(tk.NotExact, match="other inputs where the output is not finite"):
        prove(Plain(), tk.StageSplit.even(4, 2), torch.full((2, 4), torch.nan))


def test_a_class_that_the_census_has_not() -> None:
    model = Plain()
    staged = tk.virtual(tk.StageSplit.even(4, 2), model)
    with pytest.raises(tk.ModelError, match=r"Plain in stages.*tk\.virtual\(plan, transformer\)\.prove"):
        check_class(model)
    check_class(model, proof=staged.prove(torch.randn(2, 4)))
    wan = transformer("Wan")
    other = prove(wan.build(), tk.StageSplit.even(4, 2), **wan.inputs())
    with pytest.raises(tk.ModelError, match="Plain in stages"):
        check_class(model, proof=other)


def test_a_proof_passed_on_spares_the_specimen_of_a_known_class(monkeypatch: pytest.MonkeyPatch) -> None:
    wan = transformer("Wan")
    model = wan.build()
    proof = pickle.loads(pickle.dumps(prove(model, tk.StageSplit.even(4, 4), **wan.inputs())))
    monkeypatch.setattr(split_check, "_refusal", lambda name: pytest.fail(f"{name} was proven again"))
    check_class(model, proof=proof)
    with pytest.raises(pytest.fail.Exception, match="Wan was proven again"):
        check_class(model)


def test_a_proof_is_a_value() -> None:
    proof = prove(Plain(), tk.StageSplit.even(4, 2), torch.ones(2, 4))
    assert pickle.loads(pickle.dumps(proof)) == proof
    assert hash(proof) == hash(replace(proof))
    wrong = {"cls": "", "split": 4, "outputs": (), "payloads": (), "latents": "some"}
    for name, value in wrong.items():
        with pytest.raises(tk.PlanError, match=f"{name}|payloads"):
            replace(proof, **{name: value})


class Wan(diffusers.WanTransformer3DModel):
    """A subclass that keeps the class's forward."""


class OtherWan(diffusers.WanTransformer3DModel):
    """A subclass with a forward of its own."""

    def forward(self, hidden_states, *args, **kwargs):  # type: ignore[override, no-untyped-def]
        return super().forward(hidden_states, *args, **kwargs)


def test_subclasses_are_known_by_their_forward() -> None:
    config = dict(transformer("Wan").config)
    check_class(Wan(**config))
    with pytest.raises(tk.ModelError, match="OtherWan in stages: the class is not in the census"):
        check_class(OtherWan(**config))


def test_a_step_cache() -> None:
    model = transformer("Flux").build()
    staged = tk.virtual(tk.StageSplit.even(5, 2), model)
    staged.enable_cache(FirstBlockCacheConfig(threshold=0.2))  # as a pipeline's owner would: on the stand-in
    with pytest.raises(tk.ModelError, match=r"FluxTransformer2DModel has a step cache.*disable_cache\(\)"):
        staged(**transformer("Flux").inputs())
    with pytest.raises(tk.ModelError, match=r"transformer_blocks\.0 has diffusers' hook 'fbc_leader_block_hook'"):
        check_splittable(model)
    staged.disable_cache()
    check_splittable(model)


def test_offloads() -> None:
    model = transformer("Wan").build()
    apply_group_offloading(model, onload_device=torch.device("cpu"), offload_type="block_level", num_blocks_per_group=1)
    with pytest.raises(tk.ModelError, match="hook 'group_offloading'"):
        check_splittable(model)
    model = transformer("Wan").build()
    model.blocks[2]._hf_hook = object()  # as accelerate leaves it
    with pytest.raises(tk.ModelError, match=r"Model\.blocks\.2 has a hook of accelerate"):
        check_splittable(model)


def test_a_model_that_is_compiled_as_a_whole() -> None:
    model = transformer("Wan").build()
    model.compile(backend="eager")
    with pytest.raises(tk.ModelError, match=r"compiled as a whole.*compile_repeated_blocks\(\)"):
        tk.virtual(tk.StageSplit.even(4, 2), model)


def test_casts_by_layer_stay_exact() -> None:
    specimen = transformer("Wan")
    model = specimen.build()
    model.enable_layerwise_casting(storage_dtype=torch.bfloat16, compute_dtype=torch.float32)
    prove(model, tk.StageSplit.even(4, 4), **specimen.inputs())


@pytest.mark.parametrize("layers", [3, 5])
def test_a_split_of_another_number_of_layers(layers: int) -> None:
    plan = tk.StagePlan(tk.StageSplit.even(layers, 2), tk.Schedule.interleaved(stages=2, branches=2))
    with pytest.raises(tk.PlanError, match=rf"StageSplit\({layers} layers .*which has 4 layers.*Split 4 layers"):
        tk.virtual(plan, transformer("Wan").build())


def test_a_virtual_transformer_is_one_in_all_but_its_call() -> None:
    specimen = transformer("Flux")
    model = specimen.build()
    before = set(vars(model))
    staged = tk.virtual(tk.StageSplit.even(5, 3), model)
    assert isinstance(staged, diffusers.FluxTransformer2DModel)
    assert layers_of(staged) == layers_of(model)
    assert staged.config is model.config
    assert (staged.dtype, staged.device) == (model.dtype, model.device)
    assert set(vars(model)) == before
    with torch.no_grad():
        whole = model(**specimen.inputs())
        model.proj_out.weight.mul_(2)  # what changes one changes the other
        assert not same(staged(**specimen.inputs()), whole)
        assert same(staged(**specimen.inputs()), model(**specimen.inputs()))
