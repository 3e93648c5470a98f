"""``decode`` and ``encode``: the bits of the library's own calls, from files to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import toolkit as tk
from toolkit.cli import main
from toolkit.models.autoencoders.census import specimen


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
        (["--vae", "demo-image", "--latent", "demo", "--tile", "18", "--out", "x.mp4"], "a video must be 1 x 3 x t"),
        (["--vae", "demo-video", "--latent", "demo", "--tile", "18", "--out", "x.png"], "a picture must be 1 x 3 x h"),
    ],
)
def test_refused_before_a_worker_starts(words, said, capsys, monkeypatch):
    monkeypatch.setattr("toolkit.cluster.calls.Calls.call", lambda *_, **__: pytest.fail("a worker was called"))
    assert main(["decode", *words]) == 1
    assert said in capsys.readouterr().err


def test_one_file_needs_its_class_and_config(folder, capsys):
    file = next((folder / "pipe" / "vae").glob("*.safetensors"))
    assert main(["decode", "--vae", str(file), "--latent", "demo"]) == 1
    assert "--class" in capsys.readouterr().err
