"""Loading by stages gives, of each stage, what loading the whole gives, bit for bit, and reads nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.watched import loaded_elsewhere
from torch.utils._pytree import tree_leaves

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.span import Span
from toolkit.models.transformers.layers import layers_of
from toolkit.models.transformers.stage import Stage
from toolkit.models.transformers.stage_loading import load_stage
from toolkit.models.transformers.transformer_census import transformer

FAMILIES = ["Wan", "Flux", "LTX", "HunyuanVideo15", "QwenImage", "DiT", "Mochi", "ZImage"]


def saved(name: str, folder: Path, layers: int = 6):
    """A specimen's weights in several files."""
    one = transformer(name)
    one.build(layers=layers).save_pretrained(folder, max_shard_size="100KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    return one, getattr(diffusers, one.cls)


def thirds(count: int) -> list[Span]:
    return [Span(0, 1), Span(1, count - 2), Span(count - 2, count)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_stage_holds_its_own_layers_and_what_is_outside_them_and_no_more(name, dtype, tmp_path):
    _, cls = saved(name, tmp_path)
    whole = cls.from_pretrained(str(tmp_path), torch_dtype=dtype)
    layers = layers_of(whole)
    expected, buffers = whole.state_dict(), dict(whole.named_buffers())
    assert {tensor.dtype for tensor in expected.values()} >= {dtype}

    seen = set()
    for span in thirds(len(layers)):
        stage = load_stage(tmp_path, [span], torch_dtype=dtype)
        assert type(stage) is cls
        assert (dict(stage.config), stage.dtype, stage.training) == (dict(whole.config), whole.dtype, False)
        assert list(stage.state_dict()) == list(expected)
        others = tuple(f"{layer}." for layer in layers if layer not in layers[span.start : span.stop])
        for key, tensor in {**stage.state_dict(), **dict(stage.named_buffers())}.items():
            if tensor.is_meta:
                assert key.startswith(others)
                continue
            assert not key.startswith(others) or "norm1.emb" in key
            same = expected.get(key, buffers.get(key))
            assert tensor.dtype == same.dtype
            assert torch.equal(tensor, same)
            seen.add(key)
    assert seen == {*expected, *buffers}


@pytest.mark.filterwarnings("ignore:In CPU autocast")  # Mochi's own, on a processor
@pytest.mark.parametrize("name", FAMILIES)
def test_three_stages_loaded_apart_compute_what_the_whole_does(name, tmp_path):
    one, cls = saved(name, tmp_path)
    whole = cls.from_pretrained(tmp_path)
    payload = None
    for span in thirds(len(layers_of(whole))):
        stage = Stage(load_stage(tmp_path, [span]), span)
        with torch.no_grad():
            payload = stage(None if span.start == 0 else lambda given=payload: given, **one.inputs())
    with torch.no_grad():
        for mine, own in zip(tree_leaves(payload), tree_leaves(whole(**one.inputs())), strict=True):
            assert torch.equal(mine, own)


def test_only_the_last_stage_of_dit_gets_the_embedding_that_its_epilogue_borrows_from_the_first_block(tmp_path):
    saved("DiT", tmp_path)
    first, middle, last = (load_stage(tmp_path, [span]) for span in (Span(0, 2), Span(2, 4), Span(4, 6)))
    borrowed = [
        stage.transformer_blocks[0].norm1.emb.timestep_embedder.linear_1.weight for stage in (first, middle, last)
    ]
    assert [weight.is_meta for weight in borrowed] == [False, True, False]
    assert last.transformer_blocks[0].norm1.linear.weight.is_meta


def test_chunks_of_one_rank_are_loaded_together(tmp_path):
    saved("Wan", tmp_path)
    model = load_stage(tmp_path, [Span(0, 1), Span(3, 5)])
    assert [block.ffn.net[2].weight.is_meta for block in model.blocks] == [False, True, True, False, False, True]


def test_a_subfolder_counts_as_the_class_counts_it(tmp_path):
    _, cls = saved("Wan", tmp_path / "transformer")
    mine = load_stage(str(tmp_path), [Span(0, 6)], subfolder="transformer")
    own = cls.from_pretrained(str(tmp_path), subfolder="transformer")
    assert dict(mine.config) == dict(own.config)
    assert all(torch.equal(mine.state_dict()[key], tensor) for key, tensor in own.state_dict().items())


def test_the_whole_is_never_in_memory(tmp_path):
    big = {"num_attention_heads": 8, "attention_head_dim": 96, "ffn_dim": 3072, "text_dim": 64, "freq_dim": 64}
    with torch.device("meta"):
        model = diffusers.WanTransformer3DModel(num_layers=8, **big)
    torch.nn.init.zeros_(model.to_empty(device="cpu").proj_out.weight)
    whole = sum(parameter.numel() for parameter in model.parameters()) * 2
    model.save_pretrained(tmp_path, max_shard_size="60MB")
    outside = sum(p.numel() * p.element_size() // 2 for n, p in model.named_parameters() if not n.startswith("blocks."))
    del model

    stage, peak = loaded_elsewhere(tmp_path, Span(2, 4))
    share = (whole - outside) // 4 + outside
    assert share <= stage <= 1.1 * share
    assert peak <= 1.1 * share + 4e6
    assert peak < whole / 2
    _, full = loaded_elsewhere(tmp_path, None)
    assert full > 0.8 * whole - share


def test_refusals_say_the_value_the_rule_and_the_remedy(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere' holds no transformer.*config.json.*subfolder='transformer'"):
        load_stage(tmp_path / "nowhere", [Span(0, 1)])
    saved("Wan", tmp_path)
    for spans, words in [
        ([Span(0, 7)], "stage 0:7 of WanTransformer3DModel: it has 6 layers"),
        ([Span(0, 1), Span(2, 2)], r"stage 2:2 of WanTransformer3DModel.*at least"),
        ([], r"spans=\(\): a stage has at least one layer.*Give"),
    ]:
        with pytest.raises(PlanError, match=words):
            load_stage(tmp_path, spans)
    with pytest.raises(ModelError, match=r"device_map.*Move it"):
        load_stage(tmp_path, [Span(0, 1)], device_map="auto")


def test_a_checkpoint_without_a_weight_of_the_stage_is_refused_by_that_stage_only(tmp_path):
    saved("Wan", tmp_path)
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    listed = json.loads(index.read_text())
    gone = listed["weight_map"].pop("blocks.4.ffn.net.2.weight")
    index.write_text(json.dumps(listed))
    file = tmp_path / gone
    tensors = load_file(file)
    save_file({key: tensor for key, tensor in tensors.items() if key != "blocks.4.ffn.net.2.weight"}, file)
    with pytest.raises(ModelError, match=r"lacks 1 weights of the stage, the first blocks.4.ffn.net.2.weight"):
        load_stage(tmp_path, [Span(3, 6)])
    assert load_stage(tmp_path, [Span(0, 3)]).blocks[4].ffn.net[2].weight.is_meta


def test_weights_in_other_files_and_models_of_other_libraries_are_refused(tmp_path):
    transformer("Wan").build().save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(ModelError, match=r"no .safetensors \(config.json, diffusion_pytorch_model.bin\).*save it with"):
        load_stage(tmp_path, [Span(0, 1)])
    (tmp_path / "config.json").write_text('{"architectures": ["T5EncoderModel"]}')
    with pytest.raises(ModelError, match=r"holds a None, which diffusers .* does not have as a model.*Install"):
        load_stage(tmp_path, [Span(0, 1)])
