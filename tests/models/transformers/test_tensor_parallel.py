"""Weights in parts: the parts together give the whole's result; a norm over one part's channels does not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import toolkit as tk
from toolkit.models.transformers.cut_modules import NormAcrossHeads
from toolkit.models.transformers.layers import layers_of
from toolkit.models.transformers.tensor_parallel import check_weights, cut_weights, share_weights
from toolkit.models.transformers.transformer_census import transformer

CLASSES = ["Wan", "Wan_2.2_5B", "Flux", "Flux2", "QwenImage"]


class Totals:
    """Adds up over threads, in the order of the parts."""

    def __init__(self, parts: int) -> None:
        self.parts, self.given = parts, [torch.empty(0)] * parts
        self.barrier = threading.Barrier(parts)

    def of(self, part: int):
        def total(tensor):
            self.barrier.wait(timeout=30)
            self.given[part] = tensor.clone()
            self.barrier.wait(timeout=30)
            return tensor.copy_(sum(self.given[1:], self.given[0]))

        return total


def run(twins, inputs):
    def one(twin):
        torch.set_num_threads(1)
        with torch.no_grad():
            return twin(**inputs)[0]

    with ThreadPoolExecutor(len(twins)) as pool:
        return list(pool.map(one, twins))


def shared(model, parts, cut=share_weights):
    totals = Totals(parts)
    return [cut(model, layers_of(model), part=part, parts=parts, total=totals.of(part)) for part in range(parts)]


def distance(ours, whole):
    return ((ours - whole).abs().max() / whole.abs().max()).item()


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_give_the_whole_result(name, parts):
    specimen = transformer(name)
    model, inputs = specimen.build(), specimen.inputs()
    before = {key: (value, value.clone()) for key, value in model.state_dict(keep_vars=True).items()}
    with torch.no_grad():
        (whole,) = model(**inputs)
    outputs = run(shared(model, parts), inputs)
    assert all(torch.equal(output, outputs[0]) for output in outputs)
    assert distance(outputs[0], whole) < 1e-6
    after = model.state_dict(keep_vars=True)
    assert all(after[key] is value and torch.equal(value, bits) for key, (value, bits) in before.items())


def image_wan():
    cls, config = type(transformer("Wan").build()), transformer("Wan").config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = cls(**config, image_dim=12, added_kv_proj_dim=64).eval().requires_grad_(False)
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        # Wan takes the last 512 tokens for text, and those before for the image.
        text, image = torch.randn(1, 512, 16), torch.randn(1, 5, 12)
    inputs = transformer("Wan").inputs() | {"encoder_hidden_states": text, "encoder_hidden_states_image": image}
    return model, inputs


def test_keys_of_an_image_are_cut_too():
    model, inputs = image_wan()
    with torch.no_grad():
        (whole,) = model(**inputs)
    twins = shared(model, 2)
    assert twins[1].blocks[0].attn2.add_k_proj.weight.shape == (32, 64)
    assert distance(run(twins, inputs)[1], whole) < 1e-6


def test_a_norm_over_a_part_is_wrong():
    """What the sum over ranks is for."""
    model, inputs = transformer("Wan").build(), transformer("Wan").inputs()
    with torch.no_grad():
        (whole,) = model(**inputs)
    twins = shared(model, 2)
    for twin in twins:
        for norm in (module for module in twin.modules() if isinstance(module, NormAcrossHeads)):
            norm.total, norm.width = (lambda squares: squares), norm.width // 2
    assert distance(run(twins, inputs)[0], whole) > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norm_is_that_of_torch(dtype):
    torch.manual_seed(0)
    norm, x = nn.RMSNorm(64, eps=1e-6, dtype=dtype).requires_grad_(False), torch.randn(3, 5, 64).to(dtype) * 7
    norm.weight.add_(torch.randn(64) * 0.3)
    totals = Totals(2)
    halves = [NormAcrossHeads(norm, part, 2, totals.of(part)) for part in range(2)]
    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(lambda half, part: half(part), halves, x.chunk(2, -1)))
    ours, theirs = torch.cat(parts, -1), norm(x)
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs, rtol=2**-21 if dtype == torch.float32 else 2**-8, atol=0)


def test_cut_weights_are_a_fraction_and_compute_when_bound():
    specimen = transformer("Wan")
    model, inputs = specimen.build(), specimen.inputs()
    layers, totals = layers_of(model), Totals(4)
    with torch.no_grad():
        (whole,) = model(**inputs)
    cut = [cut_weights(model, layers, part=part, parts=4) for part in range(4)]
    tensors = [p for p in cut[1].blocks.parameters() if id(p) not in {id(q) for q in model.parameters()}]
    held = sum(p.untyped_storage().nbytes() for p in tensors)
    assert held == sum(p.nbytes for p in tensors)
    assert sum(p.nbytes for p in cut[1].blocks.parameters()) < 0.35 * sum(p.nbytes for p in model.blocks.parameters())
    with pytest.raises(RuntimeError, match="only among the ranks"):
        cut[0](**inputs)
    twins = [share_weights(one, layers, part=part, parts=4, total=totals.of(part)) for part, one in enumerate(cut)]
    assert distance(run(twins, inputs)[3], whole) < 1e-6
    with pytest.raises(tk.PlanError, match="cut for tp=4"):
        check_weights(cut[0], 2)


def test_layers_of_others_may_be_on_meta():
    model = transformer("Flux").build()
    model.single_transformer_blocks.to("meta")
    twin = share_weights(model, ["transformer_blocks.0"], part=0, parts=2, total=lambda tensor: tensor)
    assert twin.transformer_blocks[0].attn.to_q.weight.shape == (32, 64)
    assert twin.transformer_blocks[1] is model.transformer_blocks[1]
    assert twin.single_transformer_blocks is model.single_transformer_blocks


def test_refusals():
    wan = transformer("Wan").build()
    with pytest.raises(tk.PlanError, match="4 heads"):
        check_weights(wan, 3)
    with pytest.raises(tk.PlanError, match="block of size 6 "):
        check_weights(type(wan)(**{**transformer("Wan").config, "ffn_dim": 6}), 4)
    with pytest.raises(tk.ModelError, match="LTXVideoTransformer3DModel cannot share its weights"):
        check_weights(transformer("LTX").build(), 2)
    wan.enable_layerwise_casting(storage_dtype=torch.float16, compute_dtype=torch.float32)
    with pytest.raises(tk.ModelError, match="hooks or is compiled"):
        share_weights(wan, ["blocks.0"], part=0, parts=2, total=lambda tensor: tensor)
    wan = transformer("Wan").build()
    wan.fuse_qkv_projections()
    with pytest.raises(tk.ModelError, match="unfuse"):
        check_weights(wan, 2)
    wan = transformer("Wan").build()
    handle = wan.blocks[0].attn1.norm_q.register_forward_hook(lambda *_: None)
    with pytest.raises(tk.ModelError, match=r"attn1.norm_q has forward hooks"):
        share_weights(wan, ["blocks.0"], part=0, parts=2, total=lambda tensor: tensor)
    handle.remove()
    wan.blocks[0].attn1.to_q = type("Quantized", (nn.Linear,), {})(64, 64)
    with pytest.raises(tk.ModelError, match=r"blocks.0.attn1.to_q is a Quantized"):
        share_weights(wan, ["blocks.0"], part=0, parts=2, total=lambda tensor: tensor)
