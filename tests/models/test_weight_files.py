"""Checkpoints that are not whole, or pickled, are refused: with random weights, a picture may look fine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from toolkit.errors import ModelError
from toolkit.models.autoencoders.census import specimen
from toolkit.models.autoencoders.checkpoint import load_vae
from toolkit.models.weight_files import check_files, missing_keys

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path) -> Path:
    """An autoencoder as save_pretrained writes it."""
    specimen("AutoencoderKL").build().save_pretrained(tmp_path)
    return tmp_path


def ways(folder: Path):
    """The two ways to load the same file."""
    (file,) = (file for file in folder.iterdir() if file.name != "config.json")
    return (folder, {}), (file, {"name": "AutoencoderKL", "config": folder})


def test_missing_weights_are_named(folder):
    weights = load_file(folder / WEIGHTS)
    gone = ["decoder.conv_in.bias", "decoder.conv_in.weight"]
    save_file({name: weight for name, weight in weights.items() if name not in gone}, folder / WEIGHTS)
    for source, more in ways(folder):
        with pytest.raises(ModelError, match=rf"lacks 2 weights of the model \({', '.join(gone)}\).*Fetch"):
            load_vae(source, **more)


def test_a_file_that_is_not_for_the_class_is_refused(folder):
    save_file({"other": torch.zeros(1)}, folder / WEIGHTS)
    for source, more in ways(folder):
        with pytest.raises(ModelError, match="lacks"):
            load_vae(source, **more)


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_file_that_ends_early_is_named(folder, length):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:length])
    for source, more in ways(folder):
        with pytest.raises(ModelError, match=rf"{WEIGHTS} cannot be read as a file of weights, or ends too early"):
            load_vae(source, **more)


@pytest.mark.parametrize("ending", [".bin", ".pt", ".ckpt", ""])
def test_pickled_files_are_read_only_if_they_are_asked_for(folder, ending):
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    torch.save(weights, folder / f"diffusion_pytorch_model{ending}")
    for source, more in ways(folder):
        if ending in (".bin", ".pt", ".ckpt") or source != folder:
            with pytest.raises(ModelError, match=r"is a pickled file.*pickled=True"):
                load_vae(source, **more)
        if ending == ".bin" or source != folder:
            vae = load_vae(source, pickled=True, **more)
            assert torch.equal(vae.decoder.conv_in.weight, weights["decoder.conv_in.weight"])


class Trap:
    """Runs a function when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickled_file_runs_nothing_even_if_it_is_asked_for(folder):
    (folder / WEIGHTS).unlink()
    torch.save({"weight": Trap(folder / "sprung")}, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelError):
        load_vae(folder, pickled=True)
    assert not (folder / "sprung").exists()


@pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
def test_a_config_that_is_none(folder, text):
    (folder / "config.json").write_text(text, errors="surrogateescape")
    with pytest.raises(ModelError, match=r"config\.json .*fetch the checkpoint again"):
        load_vae(folder)


def test_a_folder_without_weights(folder):
    (folder / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=r"holds no weights: files that end in \.safetensors are needed"):
        load_vae(folder)


def test_a_shard_that_is_missing(tmp_path):
    specimen("AutoencoderKL").build().save_pretrained(tmp_path, max_shard_size="100KB")
    shards = check_files(tmp_path)
    assert len(shards) > 1
    load_vae(tmp_path)
    shards[0].unlink()
    with pytest.raises(ModelError, match=shards[0].name):
        load_vae(tmp_path)


def test_a_weight_with_two_names_is_there_under_one_of_them(tmp_path):
    model = nn.ModuleDict({"first": nn.Linear(2, 2), "second": nn.Linear(2, 2)})
    model["second"].weight = model["first"].weight
    save_file({"second.weight": torch.zeros(2, 2), "first.bias": torch.zeros(2)}, tmp_path / WEIGHTS)
    assert missing_keys(model, check_files(tmp_path)) == ["second.bias"]


def test_the_files_of_a_variant(tmp_path):
    for name in ("model.safetensors", "model.fp16.safetensors", "model.bf16-00001-of-00002.safetensors"):
        save_file({name: torch.zeros(1)}, tmp_path / name)
    found = {variant: [file.name for file in check_files(tmp_path, variant=variant)] for variant in (None, "fp16")}
    assert found == {None: ["model.safetensors"], "fp16": ["model.fp16.safetensors"]}
    assert check_files(tmp_path, variant="bf16")[0].name.startswith("model.bf16-00001")
    assert check_files(tmp_path, variant="int8") == check_files(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_weights_keep_the_dtype_that_they_are_stored_in(tmp_path, dtype, caplog):
    specimen("AutoencoderKL").build().to(dtype).save_pretrained(tmp_path)
    assert load_vae(tmp_path).dtype == dtype
    assert load_vae(tmp_path, torch.float16).dtype == torch.float16
    assert "not a `torch.dtype`" not in caplog.text
