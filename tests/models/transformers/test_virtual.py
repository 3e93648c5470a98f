"""Stages within one process, in pipelines that do not know of them."""

from __future__ import annotations

import pytest
import torch
from support.pipelines import PIPELINES

import toolkit as tk
from toolkit.models.transformers.layers import layers_of

EXPERTS = ("transformer", "transformer_2")


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_a_pipeline_with_virtual_stages_gives_the_same_bits(name: str) -> None:
    pipe = PIPELINES[name].build()
    whole = PIPELINES[name].run(pipe)
    calls: list[int] = []
    for expert in EXPERTS:
        transformer = getattr(pipe, expert, None)
        if transformer is not None:
            staged = tk.virtual(tk.StageSplit.even(len(layers_of(transformer)), 3), transformer)
            transformer.register_forward_hook(lambda *_: calls.append(1))  # the last stage's calls alone end
            setattr(pipe, expert, staged)
    assert torch.equal(PIPELINES[name].run(pipe), whole)
    assert calls
