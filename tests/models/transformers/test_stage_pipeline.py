"""Tiny pipelines of the real classes: they run, come back from disk, are read without weights, load by stages."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file
from support.pipelines import PIPELINES, PROMPTS, aligned, load
from torch import nn

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.span import Span
from toolkit.models.transformers.component_check import check_component
from toolkit.models.transformers.layers import layers_of
from toolkit.models.transformers.pipeline_parts import INDEX, experts_of, modules_of, pipeline_class
from toolkit.models.transformers.stage_pipeline import hollow, load_pipeline, load_whole
from toolkit.models.weight_files import check_files, missing_keys

NAMES = sorted(PIPELINES)
DISTINCT = [name for name in NAMES if name not in ("flux_true_cfg", "hunyuan15_embedded")]
EMBEDDINGS = {
    "wan": ["prompt_embeds", "negative_prompt_embeds"],
    "flux": ["prompt_embeds", "pooled_prompt_embeds", None],
    "ltx": ["prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask"],
}
NEEDED = {"flux": {"prompt_2": None}}
TWO = ["wan_a14b", "wan_i2v_a14b"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a pipeline, written once."""
    folders = {}

    def folder(name):
        if name not in folders:
            folders[name] = PIPELINES[name].save(tmp_path_factory.mktemp(name))
        return folders[name]

    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_pipeline_runs_and_repeats_itself_from_memory_and_from_disk(name, saved):
    one = PIPELINES[name]
    steps = {"num_inference_steps": 2} if name == "hunyuan15" else {}  # of seconds; its twin takes six
    pipe = one.build()
    latents = one.run(pipe, **steps)
    assert latents.isfinite().all()
    assert torch.equal(one.run(pipe, **steps), latents)

    again = load(saved(name))
    assert type(again).__name__ == one.cls
    assert len(list((saved(name) / "transformer").glob("*.safetensors"))) >= 3
    other = one.run(again, seed=1, **steps)
    assert not torch.equal(other, latents)
    assert torch.equal(one.run(load(saved(name)), seed=1, **steps), other)
    assert torch.equal(one.run(aligned(again), **steps), latents)


@pytest.mark.parametrize("name", TWO)
def test_each_of_two_experts_takes_steps(name):
    one, steps = PIPELINES[name], []
    pipe = one.build()
    for expert in ("transformer", "transformer_2"):
        pipe.components[expert].register_forward_pre_hook(lambda *_, expert=expert: steps.append(expert))
    one.run(pipe)
    assert steps == sorted(steps)
    assert min(steps.count(expert) for expert in ("transformer", "transformer_2")) >= 4  # two branches a step


@pytest.mark.parametrize("name", DISTINCT)
def test_what_a_pipeline_is_made_of_is_read_alike_from_its_folder_and_from_itself(name, saved):
    folder, pipe = saved(name), PIPELINES[name].build()
    assert pipeline_class(folder) is pipeline_class(pipe) is type(pipe)
    assert list(experts_of(folder)) == ["transformer", "transformer_2"][: 1 + (name in TWO)]
    assert experts_of(folder) == experts_of(pipe)
    assert modules_of(folder) == modules_of(pipe)
    modules = {part for part, value in pipe.components.items() if isinstance(value, nn.Module)}
    assert modules == {*experts_of(pipe), *modules_of(pipe)}
    assert {"vae", "text_encoder"} <= modules


def test_modules_of_a_pipelines_own_package_count_too(tmp_path):
    parts = {"transformer": ["diffusers", "LTX2VideoTransformer3DModel"], "connectors": ["ltx2", "LTX2TextConnectors"]}
    (tmp_path / INDEX).write_text(json.dumps({"_class_name": "LTX2Pipeline", **parts, "scheduler": [None, None]}))
    assert [cls.__name__ for cls in modules_of(tmp_path).values()] == ["LTX2TextConnectors"]
    assert list(experts_of(tmp_path)) == ["transformer"]


@pytest.mark.parametrize("options", [{}, {"dtype": torch.bfloat16}, {"dtype": {"transformer": torch.float16}}], ids=str)
@pytest.mark.parametrize("name", DISTINCT)
def test_a_pipeline_by_stages_says_of_itself_what_the_whole_one_says(name, options, saved):
    whole = load(saved(name), **options)
    experts = {expert: [Span(1, 3)] for expert in experts_of(whole)}
    pipe = load_pipeline(saved(name), experts, **options)
    assert type(pipe) is type(whole)
    assert {**pipe.config} == {**whole.config}
    assert (pipe.device, pipe._execution_device, pipe.dtype) == (whole.device, whole._execution_device, whole.dtype)
    assert pipe.components.keys() == whole.components.keys()
    for part, own in whole.components.items():
        mine = pipe.components[part]
        assert type(mine) is type(own)
        if not isinstance(own, nn.Module):
            continue
        assert (mine.dtype, mine.device, mine.training) == (own.dtype, own.device, own.training)
        assert settings(mine) == settings(own)
        if part in experts:
            layers = layers_of(own)
            held = [not next(mine.get_submodule(layer).parameters()).is_meta for layer in layers]
            assert held == [index in (1, 2) for index in range(len(layers))]
        else:
            assert all(tensor.is_meta or not tensor.numel() for tensor in mine.state_dict().values())


def settings(module):
    return {**module.config} if hasattr(module, "register_to_config") else module.config.to_dict()


@pytest.mark.parametrize("name", ["wan", "wan_a14b", "flux", "ltx"])
def test_with_hollow_encoders_and_vae_the_latents_of_given_embeddings_are_the_same(name, saved):
    one, folder = PIPELINES[name], saved(name)
    whole = load(folder)
    prompts = {"prompt": one.arguments["prompt"]} if name == "flux" else PROMPTS
    with torch.no_grad():
        encoded = whole.encode_prompt(**prompts, **NEEDED.get(name, {}), max_sequence_length=16)
    given = {key: value for key, value in zip(EMBEDDINGS.get(name, EMBEDDINGS["wan"]), encoded, strict=True) if key}
    given |= dict.fromkeys(prompts)
    spans = {expert: [Span(0, len(layers_of(whole.components[expert])))] for expert in experts_of(whole)}
    assert torch.equal(one.run(load_pipeline(folder, spans), **given), one.run(whole))


def test_only_modules_that_are_named_are_loaded_and_experts_without_spans_are_hollow(saved):
    one, whole = PIPELINES["wan_a14b"], load(saved("wan_a14b"))
    pipe = load_pipeline(saved("wan_a14b"), {"transformer_2": [Span(0, 2)]}, with_modules=["vae"])
    assert all(tensor.is_meta or not tensor.numel() for tensor in pipe.transformer.state_dict().values())
    assert not pipe.transformer_2.blocks[1].ffn.net[2].weight.is_meta
    assert pipe.text_encoder.shared.weight.is_meta
    latents = one.run(whole)
    assert torch.equal(pipe.vae.decode(latents).sample, whole.vae.decode(latents).sample)


def test_variants_of_files_and_components_of_ones_own_are_as_from_pretrained_has_them(saved, tmp_path):
    pipe = load(saved("wan"))
    pipe.transformer.save_pretrained(tmp_path / "transformer", variant="fp16", max_shard_size="300KB")
    for name in ("vae", "text_encoder", "tokenizer", "scheduler"):
        pipe.components[name].save_pretrained(tmp_path / name)
    (tmp_path / INDEX).write_text((saved("wan") / INDEX).read_text())
    spans = {"transformer": [Span(2, 4)]}
    with pytest.raises(ModelError, match=r"transformer. cannot be read.*name the variant="):
        load_pipeline(tmp_path, spans)
    mine = load_pipeline(tmp_path, spans, variant="fp16", vae=pipe.vae)
    assert mine.vae is pipe.vae
    assert torch.equal(mine.transformer.blocks[2].attn1.to_q.weight, pipe.transformer.blocks[2].attn1.to_q.weight)


def test_pipelines_that_cannot_be_cut_in_stages_are_refused(tmp_path):
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
    unet = UNet2DModel(block_out_channels=(8,), norm_num_groups=4, layers_per_block=1, **blocks)
    with pytest.raises(ModelError, match=r"DDPMPipeline has no transformer \(its modules: unet\).*Run it whole"):
        experts_of(DDPMPipeline(unet, DDPMScheduler()))
    with pytest.raises(ModelError, match=r"holds no pipeline: a folder with a model_index.json.*tk.download"):
        experts_of(tmp_path)
    listed = {
        "FluxControlNetPipeline": (["diffusers", "FluxControlNetModel"], r"has a controlnet.*Run it whole, or"),
        "NoSuchPipeline": (["diffusers", "FluxControlNetModel"], r"class 'NoSuchPipeline', .*does not have"),
        "FluxPipeline": (
            ["diffusers", "NoThing"],
            r"'controlnet' is of class diffusers.NoThing.*Install what it needs",
        ),
    }
    for name, (component, words) in listed.items():
        (tmp_path / INDEX).write_text(json.dumps({"_class_name": name, "controlnet": component}))
        with pytest.raises(ModelError, match=words):
            experts_of(tmp_path)


def test_names_that_a_pipeline_has_not_are_refused(saved):
    with pytest.raises(
        PlanError, match=r"spans names 'transformer_2': the pipeline has transformer\. Name one of these"
    ):
        load_pipeline(saved("wan"), {"transformer_2": [Span(0, 1)]})
    with pytest.raises(PlanError, match=r"with_modules names 'tokenizer': the pipeline has text_encoder, vae"):
        load_pipeline(saved("wan"), {"transformer": [Span(0, 1)]}, with_modules=["vae", "tokenizer"])


@pytest.mark.parametrize("library", ["evil_module", "os", "evil.deep", "../evil", "builtins"])
def test_a_folder_does_not_decide_what_is_imported(tmp_path, monkeypatch, library):
    """A folder that somebody has sent named a module that lay in it, and it ran."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil_module.py").write_text("from pathlib import Path\nPath(__file__).with_name('sprung').touch()\n")
    parts = {"transformer": ["diffusers", "WanTransformer3DModel"], "vae": [library, "Net"]}
    (tmp_path / INDEX).write_text(json.dumps({"_class_name": "WanPipeline", **parts}))
    for ask in (pipeline_class, experts_of, load_whole, lambda path: load_pipeline(path, {})):
        with pytest.raises(ModelError, match=rf"its vae is a class of '{library}'.*load the pipeline yourself"):
            ask(tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.fixture
def broken(saved, tmp_path):
    """A copy of a saved pipeline, to break."""
    return Path(shutil.copytree(saved("wan"), tmp_path / "wan"))


LOADS = {
    "whole": load_whole,
    "stage": lambda path: load_pipeline(path, {"transformer": [Span(0, 2)]}, with_modules=["vae", "text_encoder"]),
}


@pytest.mark.parametrize("part", ["vae", "text_encoder", "transformer"])
@pytest.mark.parametrize("way", LOADS)
def test_parts_that_are_not_whole_or_pickled_are_refused_and_named(broken, part, way):
    load = LOADS[way]
    file = sorted((broken / part).glob("*.safetensors"))[0]
    weights, data = load_file(file), file.read_bytes()
    gone = [name for name in weights if name.endswith("weight")][-1]
    kept = {name: weight for name, weight in weights.items() if name != gone}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"{part}.* lacks .*{re.escape(gone)}"):
        load(broken)
    file.write_bytes(data[:-8])
    with pytest.raises(ModelError, match=rf"{file.name} cannot be read as a file of weights, or ends too early"):
        load(broken)
    for one in (broken / part).glob("*.safetensors*"):
        one.unlink()
    torch.save(weights, file.with_suffix(".bin"))
    refused = "holds no .safetensors" if (part, way) == ("transformer", "stage") else "is a pickled file"
    with pytest.raises(ModelError, match=refused):
        load(broken)


def test_pickled_parts_are_loaded_if_they_are_asked_for(broken):
    own = load(broken)
    for part, name in {"vae": "diffusion_pytorch_model", "text_encoder": "pytorch_model"}.items():
        weights = {}
        for file in (broken / part).glob("*.safetensors*"):
            weights |= load_file(file) if file.suffix == ".safetensors" else {}
            file.unlink()
        torch.save(weights, broken / part / f"{name}.bin")
    with pytest.raises(ModelError, match=r"is a pickled file.*load=\{'use_safetensors': False\}"):
        load_whole(broken, transformer=own.transformer)
    mine = load_whole(broken, transformer=own.transformer, use_safetensors=False)
    for part in ("vae", "text_encoder"):
        for name, weight in own.components[part].state_dict().items():
            assert torch.equal(mine.components[part].state_dict()[name], weight)


def test_weights_under_older_names_are_not_missing(saved, tmp_path):
    folder = Path(shutil.copytree(saved("qwen_image"), tmp_path / "qwen"))
    cls = modules_of(folder)["text_encoder"]
    shell, files = hollow(folder / "text_encoder", cls), check_files(folder / "text_encoder")
    assert len(missing_keys(shell, files)) > 10
    check_component(folder / "text_encoder", shell, {}, variant=None)
    weights = {name: weight for file in files for name, weight in load_file(file).items()}
    save_file(
        {name: weight for name, weight in weights.items() if name != "lm_head.weight"}, files[0], {"format": "pt"}
    )
    for file in (*files[1:], *folder.glob("text_encoder/*.index.json")):
        file.unlink()
    (folder / "text_encoder" / files[0].name).rename(folder / "text_encoder" / "model.safetensors")
    with pytest.raises(ModelError, match=r"lacks 1 weight of the model \(lm_head.weight\)"):
        check_component(folder / "text_encoder", shell, {}, variant=None)
