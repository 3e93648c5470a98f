"""The benchmark of exact shards."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from toolkit.bench import shard_speed as shards
from toolkit.cli import main
from toolkit.models import demo
from toolkit.models.autoencoders.full_size import Subject


def measured(flags, path, capsys):
    assert main(["bench", "shards", "--turns", "1", "--json", str(path), *flags]) == 0
    return json.loads(path.read_text()), capsys.readouterr().out


@pytest.mark.slow
def test_shards_are_held_against_the_models_own_call_and_others(tmp_path, capsys, monkeypatch):
    latent = demo.latents("video")[:, :, :2, :8, :8]
    monkeypatch.setattr(shards, "_four_videos", lambda: latent)
    monkeypatch.setattr(shards, "_one_picture", lambda: latent[:, :, :1])
    monkeypatch.setattr(shards, "TILE", 6)
    monkeypatch.setattr("toolkit.bench.interception.REPEATS", 1)
    result, text = measured([], tmp_path / "shards.json", capsys)
    for part in (result, result["one large picture"], result["torch's own kernels and allocator"]):
        assert min(seconds for one in part["seconds"].values() for seconds in one) > 0
        assert part["times faster"][shards.ONE]["times faster"] > 0
    facts = pd.DataFrame(result["one run of each"]).T
    assert (facts["relative error"].drop("tiles, 2 ranks") < 1e-5).all()
    assert facts.loc["tiles, 2 ranks", "relative error"] > 1e-3
    assert facts.loc["shards, 1 rank", "messages"] == 0 < facts.loc["shards, 2 ranks", "messages"]
    assert result["interception"]["torch calls"] > 1000
    assert "Latent 1x16x1x8x8: shards, 2 ranks " in text


def test_shards_of_a_model_of_real_width(tmp_path, capsys, monkeypatch):
    small = {"base_dim": 8, "z_dim": 4, "dim_mult": [1, 1], "num_res_blocks": 1, "temperal_downsample": [True]}
    subject = Subject("small", "AutoencoderKLWan", (4, 1, 8, 8), "AutoencoderKLWan_2.1", small)
    monkeypatch.setattr(shards, "SUBJECTS", [subject])
    monkeypatch.setattr(shards, "WIDE", 8)
    result, text = measured(["--full"], tmp_path / "shards.json", capsys)
    facts = pd.DataFrame(result["one run of each"]).T
    assert (facts["relative error"] < 1e-5).all()
    assert set(result["times faster"]) == {shards.ONE, shards.PLAIN, shards.TUNED}
    assert text.startswith("small, 0 M weights, one thread per rank")
    assert "Latent 1x4x1x8x8: shards, 2 ranks " in text
