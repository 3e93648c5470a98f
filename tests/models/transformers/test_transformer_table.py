"""The table of transformer classes: one entry per class, one look-up, and subclasses share their parent's entry."""

from __future__ import annotations

import diffusers
import pytest
import torch
from torch import nn

import toolkit as tk
from toolkit.models.transformers.ghost import returned
from toolkit.models.transformers.layers import layers_of
from toolkit.models.transformers.sequence_parallel import check_sequence
from toolkit.models.transformers.split_check import check_class, prove
from toolkit.models.transformers.tensor_parallel import check_weights, cut_weights
from toolkit.models.transformers.transformer_census import TRANSFORMERS, transformer
from toolkit.models.transformers.transformer_entry import PartEntry, Sequences, TransformerEntry
from toolkit.models.transformers.transformer_table import TRANSFORMER_ENTRIES, entry_of, part_of


class MyWan(diffusers.WanTransformer3DModel):
    """A subclass of a class whose sequence and weights can be shared."""


class MyVACE(diffusers.WanVACETransformer3DModel):
    """A subclass of a class with a prologue, whose later stages need the latents."""


class MyHunyuanDiT(diffusers.HunyuanDiT2DModel):
    """A subclass of a class that is refused."""


class ErnieImageSharedAdaLNBlock(nn.Module):
    """Stands for diffusers' block of this name: the table names classes, it does not import them."""

    def forward(self, x: torch.Tensor, temb: torch.Tensor) -> torch.Tensor:
        return x + temb


class MyBlock(ErnieImageSharedAdaLNBlock):
    """A subclass of a block whose return statement names no parameter."""


def like(cls: type, name: str) -> nn.Module:
    """A specimen's weights in a subclass of its class."""
    model = cls(**TRANSFORMERS[name].config)
    model.load_state_dict(transformer(name).build().state_dict())
    return model.eval().requires_grad_(False)


def test_a_subclass_of_a_refused_class_is_refused():
    with pytest.raises(tk.ModelError, match=r"MyHunyuanDiT cannot run in stages: .*a skip over layers"):
        check_class(like(MyHunyuanDiT, "HunyuanDiT"))


def test_a_subclass_has_its_parents_prologue():
    model = like(MyVACE, "WanVACE")
    assert not [name for name in layers_of(model) if name.startswith("vace_blocks")]


def test_a_subclass_may_need_latents_everywhere():
    model = like(MyVACE, "WanVACE")
    proof = prove(model, tk.StageSplit.even(4, 2), **transformer("WanVACE").inputs())
    assert proof.latents == "every"


def test_a_subclass_shares_its_sequence_and_weights():
    model = like(MyWan, "Wan")
    check_sequence(model, 2)
    check_weights(model, 2)
    half = cut_weights(model, ["blocks.0"], part=0, parts=2)
    assert half.blocks[0].attn1.to_q.weight.shape[0] * 2 == model.blocks[0].attn1.to_q.weight.shape[0]


def test_a_subclass_of_an_attention_is_divided_as_its_parent():
    model = like(MyWan, "Wan")
    attention = model.blocks[0].attn1
    attention.__class__ = type("MyAttention", (type(attention),), {})
    half = cut_weights(model, ["blocks.0"], part=0, parts=2).blocks[0].attn1
    assert half.heads * 2 == attention.heads
    assert type(half.norm_q).__name__ == "NormAcrossHeads"


def test_a_subclass_of_a_block_returns_what_its_parent_does():
    assert returned(MyBlock())[0] == "x"


def test_the_nearest_class_counts():
    heir = type("FluxTransformer2DModel", (diffusers.WanTransformer3DModel,), {})
    assert entry_of(heir) is TRANSFORMER_ENTRIES["FluxTransformer2DModel"]
    assert entry_of(MyWan) is TRANSFORMER_ENTRIES["WanTransformer3DModel"]
    assert entry_of(nn.Linear) is None
    assert part_of(nn.Linear) is None


@pytest.mark.parametrize("name", TRANSFORMER_ENTRIES)
def test_every_entry_names_what_is_there(name):
    entry = TRANSFORMER_ENTRIES[name]
    assert isinstance(getattr(diffusers, name), type)
    specimen = next((one for one in TRANSFORMERS.values() if one.cls == name), None)
    if specimen is None:  # not in the census: the entry serves those who bring a proof
        return
    model = specimen.build()
    assert set(entry.prologue) <= {child for child, _ in model.named_children()}
    parts = {type(module).__name__: module for module in model.modules()}
    for part, known in entry.parts.items():
        assert part in parts, f"{part} is gone from {name}"
        for norm in known.norms_across_heads:
            assert any(hasattr(module, norm) for module in model.modules()) or norm == "norm_added_k"


def test_an_entry_checks_itself():
    with pytest.raises(tk.PlanError, match="says nothing"):
        TransformerEntry()
    with pytest.raises(tk.PlanError, match=r"prologue.*reason"):
        TransformerEntry(prologue={"blocks": ""})
    with pytest.raises(tk.PlanError, match=r"sequence.*reason"):
        TransformerEntry(sequence=Sequences(lambda model, call: {}))
    with pytest.raises(tk.PlanError, match="refused"):
        TransformerEntry(refused=3)
    with pytest.raises(tk.PlanError, match="reason"):
        PartEntry(reason="", returns="x")
    with pytest.raises(tk.PlanError, match="says nothing"):
        PartEntry(reason="it is odd")
    with pytest.raises(tk.PlanError, match="lengths"):
        Sequences(lengths=3)
    with pytest.raises(tk.PlanError, match="positions"):
        Sequences(lengths=len, positions=0)
