"""Benchmarks: what they compute from times; and that the command runs."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from toolkit.bench import shard_speed as shards
from toolkit.bench import stage_speed as stages
from toolkit.bench import tile_speed as tiles
from toolkit.bench.paired import ratios, take_turns
from toolkit.cli import main
from toolkit.models import demo
from toolkit.models.autoencoders.full_size import Subject


def test_ratios_are_taken_within_a_turn():
    """A machine that halves its speed in one turn does not change the ratio."""
    table = pd.DataFrame({"ours": [1.0, 2.0, 1.0], "other": [3.0, 6.0, 3.0]})
    result = ratios(table, "ours").loc["other"]
    assert result.tolist() == [3.0, 3.0, 3.0, 3.0]


def test_every_contender_runs_once_a_turn():
    calls: list[str] = []

    def contender(name: str):
        return lambda: calls.append(name) or float(len(calls))

    table = take_turns({"a": contender("a"), "b": contender("b")}, turns=3)
    assert table.shape == (3, 2)
    assert [sorted(calls[i : i + 2]) for i in range(0, 8, 2)] == [["a", "b"]] * 4


def test_the_command_measures_and_writes(tmp_path, capsys, monkeypatch):
    """On one frame of the demo's video: the benchmark's own size takes a minute and shows no more here."""
    video = demo.latents("video")
    monkeypatch.setattr(tiles.demo, "latents", lambda name: video[:, :, :1])
    path = tmp_path / "tiles.json"
    assert main(["bench", "tiles", "--turns", "1", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert set(result["times faster"]) == set(result["seconds"]) - {"2 ranks, 1 thread each"}
    assert all(row["times faster"] > 0 for row in result["times faster"].values())
    assert "Planning 2000 tiles" in capsys.readouterr().out


def test_stages_are_held_against_one_rank():
    result = stages.bench_stages(turns=1, steps=2, block=0.001)
    json.dumps(result)
    rows = result["over one rank"]
    formulas = {name: row["formula"] for name, row in rows.items()}
    assert formulas == {
        "1 rank": 1.0,
        "interleaved, P=2": 0.75,
        "looped, P=2, V=2": 0.625,
        "requests, P=2, R=2": 0.5,
        "interleaved, P=4": 0.625,
        "looped, P=4, V=2": 0.5625,
        "requests, P=4, R=3": 0.25,
        "sequential, P=2": 1.0,
        "CFG-parallel, 2 groups": 0.5,
        "two experts, 1 rank": 1.0,
        "two experts, 1 rank each, R=3": pytest.approx(2 / 3),
        "two experts, 2 ranks each, R=3": pytest.approx(1 / 2),
    }
    assert rows["1 rank"]["measured"] == rows["two experts, 1 rank"]["measured"] == 1.0
    for name, row in rows.items():
        assert row["measured"] > 0
        # Requests fill and drain once in so short a loop, and no schedule beats its formula.
        assert row["bound"] >= row["formula"] - 1e-9
        ranks = result["where time goes"][name]
        assert len({round(sum(parts.values()), 9) for parts in ranks.values()}) == 1
    assert "two experts, 2 ranks each, R=3, rank 3" in stages.as_text(result)


def measured(flags, path, capsys):
    assert main(["bench", "shards", "--turns", "1", "--json", str(path), *flags]) == 0
    return json.loads(path.read_text()), capsys.readouterr().out


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
    assert set(result["times faster"]) == {shards.ONE, "vae.decode, plain process, 2 threads"}
    assert text.startswith("small, 0 M weights, one thread per rank")
    assert "Latent 1x4x1x8x8: shards, 2 ranks " in text


def test_flags_of_other_benchmarks_are_refused(capsys):
    for flags, reason in (
        (["tiles", "--full"], "--full does not apply to bench tiles, only to bench models and shards"),
        (["tiles", "--compute"], "--compute does not apply to bench tiles, only to bench stages"),
        (["models", "--block", "0.1"], "--block does not apply to bench models, only to bench stages"),
    ):
        assert main(["bench", *flags]) == 1
        assert reason in capsys.readouterr().err


def test_unknown_commands_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "nothing"])
    assert "invalid choice" in capsys.readouterr().err


def test_parity_of_a_few_classes(tmp_path, capsys):
    path = tmp_path / "parity.json"
    names = ["AutoencoderKLWan_2.2", "AutoencoderTiny", "AutoencoderKLMiniMaxH3"]
    assert main(["parity", *names, "--json", str(path)]) == 0
    checks = pd.DataFrame(json.loads(path.read_text()))
    assert checks["name"].unique().tolist() == names
    tiles = checks[checks["mode"] == "tiles"]
    assert tiles["error"].tolist() == [0.0] * 6
    exact = checks[(checks["mode"] != "tiles") & checks["error"].notna()]
    assert len(exact) == 12
    assert (exact["error"] < 1e-5).all()
    refused = checks[checks["error"].isna()]
    assert refused["reason"].str.contains("vision transformer|an encoder's last layers|borders='recompute' with").all()
    assert "| AutoencoderTiny | float32 | (=) | (=) | = |" in capsys.readouterr().out


def test_parity_refuses_a_name_that_is_not_in_the_census(capsys):
    assert main(["parity", "AutoencoderNone"]) == 1
    assert "not in the census" in capsys.readouterr().err
