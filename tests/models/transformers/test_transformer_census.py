"""The census of transformers: its specimens run, repeat themselves, and hide nothing behind a zero."""

from __future__ import annotations

import pytest
import torch
from support.chains import same, tensors

import toolkit as tk
from toolkit.models.transformers.layers import layers_of
from toolkit.models.transformers.transformer_census import TRANSFORMERS, transformer

pytestmark = pytest.mark.filterwarnings("ignore:In CPU autocast")  # Mochi asks for one that processors have not


@pytest.mark.parametrize("name", TRANSFORMERS)
@torch.no_grad()
def test_a_specimen_repeats_itself_and_depends_on_its_latents(name: str) -> None:
    specimen = TRANSFORMERS[name]
    model = specimen.build()
    outputs = {scale: model(**specimen.inputs(scale)) for scale in (1, 2)}
    assert all(x.isfinite().all() and x.std() > 0 for output in outputs.values() for x in tensors(output))
    assert {x.shape for x in tensors(outputs[1])}.isdisjoint({x.shape for x in tensors(outputs[2])[:1]})
    assert same(specimen.build()(**specimen.inputs()), outputs[1])
    assert not same(specimen.build()(**specimen.inputs(seed=2)), outputs[1])
    assert not same(specimen.build(seed=1)(**specimen.inputs()), outputs[1])


@pytest.mark.parametrize("name", TRANSFORMERS)
@torch.no_grad()
def test_no_layer_of_a_specimen_is_idle(name: str) -> None:
    specimen = TRANSFORMERS[name]
    model, inputs = specimen.build(), specimen.inputs()
    before = model(**inputs)
    for layer in layers_of(model):
        weights = max(model.get_submodule(layer).parameters(), key=torch.numel)
        kept = weights.clone()
        weights.mul_(1.5)
        assert not same(model(**inputs), before), layer
        weights.copy_(kept)
    assert all((parameter != 0).any() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["Wan", "Flux", "AuraFlow", "PRX"])
@pytest.mark.parametrize("layers", [2, 7])
def test_a_specimen_has_as_many_layers_as_asked_for(name: str, layers: int) -> None:
    assert len(layers_of(transformer(name).build(layers))) == layers


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(tk.ModelError, match=r"'Wan3' is not in the census: use one of Flux, .*Wan,"):
        transformer("Wan3")
