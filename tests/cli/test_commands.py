"""The command line: the bits of the library's own calls, from files to files, and refusals before a worker starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.pipelines import PIPELINES

import toolkit as tk
from toolkit.cli import doctor, main
from toolkit.models.autoencoders.census import specimen

LATENT = (1, 4, 7, 9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A small autoencoder as save_pretrained writes it, and a latent for it."""
    folder = tmp_path_factory.mktemp("files")
    specimen("AutoencoderKL").build().save_pretrained(folder / "pipe" / "vae")
    (folder / "pipe" / "model_index.json").write_text("{}")
    save_file(
        {"latent": torch.randn(LATENT, generator=torch.Generator().manual_seed(0))}, folder / "latent.safetensors"
    )
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Clusters that start quickly."""
    spawned = tk.Cluster.__init__
    monkeypatch.setattr(tk.Cluster, "__init__", lambda *args, **more: spawned(*args, **{"start": "forkserver", **more}))


def decode(folder: Path, *words: str) -> int:
    return main(["decode", "--vae", str(folder / "pipe"), "--latent", str(folder / "latent.safetensors"), *words])


@pytest.mark.usefixtures("quick")
def test_decode_gives_the_cluster_s_bits(folder, tmp_path, cluster, capsys):
    out = tmp_path / "sample.safetensors"
    words = ["--ranks", "2", "--tile", "h=4,w=5", "--overlap", "2", "--blend", "cosine"]
    assert decode(folder, *words, "--out", str(out), "--trace", str(tmp_path)) == 0
    vae = specimen("AutoencoderKL").build()
    latent = load_file(folder / "latent.safetensors")["latent"]
    grid = tk.TileGrid.cover({"h": 7, "w": 9}, {"h": 4, "w": 5}, 2)
    plan = tk.TilePlan(grid, tk.Blend.cosine(), tk.Assignment.balanced(grid, 2))
    assert torch.equal(load_file(out)["sample"], cluster.decode(vae, latent, plan, progress=False).output)
    assert plan.summary in capsys.readouterr().out
    assert {"trace.parquet", "record.json"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.usefixtures("quick")
def test_encode_a_picture_and_draw_one(tmp_path, cluster, capsys):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8))
    picture.save(tmp_path / "in.png")
    words = ["encode", "--vae", "demo-image", "--sample", str(tmp_path / "in.png"), "--shards", "2x1", "--ranks", "2"]
    assert main([*words, "--out", str(tmp_path / "moments.safetensors")]) == 0
    moments = load_file(tmp_path / "moments.safetensors")["sample"]
    sample = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
    own = cluster.encode(tk.demo.image_vae(), sample, tk.ShardPlan(h=2), progress=False).output
    assert torch.equal(moments, own)
    save_file({"mean": moments.chunk(2, 1)[0].contiguous()}, tmp_path / "mean.safetensors")
    words = ["decode", "--vae", "demo-image", "--latent", f"{tmp_path / 'mean.safetensors'}:mean", "--whole"]
    assert main([*words, "--out", str(tmp_path / "out.png")]) == 0
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.size == (48, 40)
    capsys.readouterr()


@pytest.mark.usefixtures("quick")
def test_generate_gives_the_pipeline_s_bits(tmp_path, capsys):
    PIPELINES["flux"].save(tmp_path / "flux")
    words = ["--ranks", "2", "--branches", "1", "--prompt", "a cat", "--steps", "2", "--height", "32", "--width", "32"]
    further = ["--call", '{"max_sequence_length": 8}', "--seed", "3"]
    out = tmp_path / "latents.safetensors"
    assert main(["generate", "--pipeline", str(tmp_path / "flux"), *words, *further, "--out", str(out)]) == 0
    capsys.readouterr()
    call = {"prompt": "a cat", "num_inference_steps": 2, "height": 32, "width": 32, "max_sequence_length": 8}
    with tk.Cluster(1, "cpu", start="forkserver") as alone:
        generator = torch.Generator().manual_seed(3)
        run = alone.generate(str(tmp_path / "flux"), output_type="latent", generator=generator, progress=False, **call)
    assert torch.equal(load_file(out)["sample"], run.output)


def test_under_torchrun_the_same_bits(folder, tmp_path, cluster):
    words = ["decode", "--vae", str(folder / "pipe"), "--latent", str(folder / "latent.safetensors")]
    out = tmp_path / "sample.safetensors"
    done = torchrun(*words, "--device", "cpu", "--shards", "2x1", "--out", str(out))
    assert done.returncode == 0, done.stderr
    vae, latent = specimen("AutoencoderKL").build(), load_file(folder / "latent.safetensors")["latent"]
    assert torch.equal(load_file(out)["sample"], cluster.decode(vae, latent, tk.ShardPlan(h=2), progress=False).output)


def torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "toolkit"]
    path = os.pathsep.join([str(Path(tk.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    return subprocess.run([*command, *words], capture_output=True, text=True, timeout=180, env=environment)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--vae", "nowhere", "--latent", "demo"], "holds no config.json"),
        (["--vae", "demo-image", "--latent", "nothing.safetensors"], "must be an existing .safetensors file"),
        (["--vae", "demo-image", "--latent", "demo", "--overlap", "2"], "only applies to tiles"),
        (["--vae", "demo-image", "--latent", "demo", "--own-tiles", "--blend", "linear"], "uses the class's own blend"),
        (["--vae", "demo-image", "--latent", "demo", "--tile", "t=2"], "the latent has only"),
        (["--vae", "demo-image", "--latent", "demo", "--tile", "8", "--overlap", "9"], "overlap"),
        (["--vae", "demo-image", "--latent", "demo", "--shards", "3x1", "--ranks", "2"], "3 ranks"),
        (["--vae", "demo-image", "--latent", "demo", "--whole", "--out", "x.tiff"], "must end in"),
        (["--vae", "demo-image", "--latent", "demo", "--whole", "--out", "no/such/x.png"], "the folder does not exist"),
    ],
)
def test_refused_before_a_worker_starts(words, said, capsys, monkeypatch):
    monkeypatch.setattr("toolkit.cluster.calls.Calls.call", lambda *_, **__: pytest.fail("a worker was called"))
    assert main(["decode", *words]) == 1
    assert said in capsys.readouterr().err


def test_several_tensors_need_a_name(folder, tmp_path, capsys):
    save_file({"a": torch.zeros(LATENT), "b": torch.zeros(LATENT)}, tmp_path / "two.safetensors")
    for name, said in {"": "name one as", ":c": "has no tensor 'c'"}.items():
        assert main(["decode", "--vae", str(folder / "pipe"), "--latent", f"{tmp_path}/two.safetensors{name}"]) == 1
        assert said in capsys.readouterr().err


def test_one_file_needs_its_class_and_config(folder, capsys):
    file = next((folder / "pipe" / "vae").glob("*.safetensors"))
    assert main(["decode", "--vae", str(file), "--latent", "demo"]) == 1
    assert "--class" in capsys.readouterr().err


def test_stage_plans_from_options(capsys):
    words = ["generate", "--pipeline", "demo", "--dry-run"]
    assert main([*words, "--ranks", "4", "--cfg", "2", "--schedule", "looped", "--chunks", "2"]) == 0
    split, schedule = tk.StageSplit.even(8, 4), tk.Schedule.looped(2, 1, chunks=2)
    assert repr(tk.StagePlan(split, schedule, cfg=2)) in capsys.readouterr().out
    for wrong in (["--ranks", "3", "--stages", "2"], ["--chunks", "2"], ["--ranks", "3", "--cfg", "3"]):
        assert main([*words, *wrong]) == 1
        assert capsys.readouterr().err.startswith("PlanError")


def test_doctor_says_what_is_wrong(monkeypatch, capsys):
    needs = ["torch>=99", "einops>=0.1", "nosuchpackage>=1.0", "av>=12; extra == 'video'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: needs)
    found = {finding.what: finding for finding in doctor.required()}
    assert {name: one.state for name, one in found.items()} == {
        "torch": "wrong",
        "einops": "ok",
        "nosuchpackage": "wrong",
    }
    assert "torch>=99" in found["torch"].hint
    monkeypatch.setattr(doctor, "two_ranks", lambda device: [doctor.Finding("two ranks", "work")])
    assert main(["doctor"]) == 1
    assert "pip install 'torch>=99'" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_doctor_tries_two_ranks():
    *_, last = doctor.two_ranks("cpu")
    assert last.what == "shards against whole"
    assert last.state == "ok"
