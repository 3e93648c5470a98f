"""Stages of every class of the census: bit by bit the whole, at every cut and in two shapes, or refused."""

from __future__ import annotations

import copy

import pytest
import torch
from support.chains import chain, same, splits_of

import toolkit as tk
from toolkit.models.transformers.layers import layers_of, needs_of
from toolkit.models.transformers.split_check import check_class, finest, prove
from toolkit.models.transformers.stage import Stage
from toolkit.models.transformers.transformer_census import TRANSFORMERS, transformer

pytestmark = pytest.mark.filterwarnings("ignore:In CPU autocast")  # Mochi asks for one that processors have not
SKIPS = "HunyuanDiT"
SPLIT = [name for name in TRANSFORMERS if name != SKIPS]


@pytest.mark.parametrize("name", SPLIT)
def test_every_cut_is_equal_bit_by_bit(name: str) -> None:
    specimen = transformer(name)
    model = specimen.build()
    names = list(model.state_dict())
    for scale in (1, 2, 1):  # the shape changes, and back
        inputs = specimen.inputs(scale)
        with torch.no_grad():
            whole = model(**inputs)
        for split in splits_of(model):
            assert same(chain(model, split, **inputs), whole), (split, scale)
    assert list(model.state_dict()) == names


@pytest.mark.parametrize("name", ["Wan", "LTX2", "Flux", "Flux2", "SD3", "HunyuanVideo", "ZImage"])
def test_in_bfloat16(name: str) -> None:
    specimen = transformer(name)
    model = specimen.build().to(torch.bfloat16)
    inputs = torch.utils._pytree.tree_map_only(
        torch.Tensor, lambda x: x.bfloat16() if x.is_floating_point() else x, specimen.inputs()
    )
    with torch.no_grad():
        whole = model(**inputs)
    for split in splits_of(model):
        assert same(chain(model, split, **inputs), whole), split


@pytest.mark.parametrize("name", SPLIT)
def test_layers_of_other_stages_need_no_weights(name: str) -> None:
    specimen = transformer(name)
    model, inputs = specimen.build(), specimen.inputs(seed=3)
    with torch.no_grad():
        whole = model(**inputs)
    split = tk.StageSplit.even(len(layers_of(model)), 3)
    passed = None
    for span in split.stages:
        own = with_only(model, span)
        with torch.no_grad():
            passed = Stage(own, span)(None if span.start == 0 else lambda: passed, **inputs)  # noqa: B023
    assert same(passed, whole)


@pytest.mark.parametrize("name", SPLIT)
def test_later_stages_need_no_latents_but_where_it_is_said(name: str) -> None:
    specimen = transformer(name)
    model = specimen.build()
    proof = prove(model, finest(model), **specimen.inputs())
    assert proof.latents == ("every" if specimen.name == "WanVACE" else "first")
    assert len(proof.payloads) == len(layers_of(model)) - 1


def test_the_classes_that_are_accepted() -> None:
    refused, accepted = set(), set()
    for specimen in TRANSFORMERS.values():
        try:
            check_class(specimen.build())
        except tk.ModelError:
            refused.add(specimen.cls)
        else:
            accepted.add(specimen.cls)
    assert refused == {"HunyuanDiT2DModel"}
    assert len(accepted) >= 36


def with_only(model: torch.nn.Module, span: tk.Span) -> torch.nn.Module:
    """A copy whose layers outside ``span`` are on the meta device, less what the stage needs of them."""
    own = copy.deepcopy(model)
    needed = {name: own.get_submodule(name) for name in needs_of(own, span)}
    kept = {name: copy.deepcopy(module) for name, module in needed.items()}
    for index, layer in enumerate(layers_of(own)):
        if index not in span:
            own.get_submodule(layer).to("meta")
    for name, module in kept.items():
        own.set_submodule(name, module)
    return own
