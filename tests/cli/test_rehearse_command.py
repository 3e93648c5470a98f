"""``rehearse``: what it prints, chooses and refuses, without a worker."""

from __future__ import annotations

import pytest

import toolkit as tk
from toolkit.cli import main

SHAPE = (1, 16, 16, 20)


def rehearse(*words: str) -> int:
    return main(["rehearse", "--vae", "demo-image", "--shape", "1x16x16x20", *words])


def test_it_prints_messages_and_memory_and_no_times_without_a_profile(capsys):
    assert rehearse("--shards", "2x1") == 0
    said = capsys.readouterr().out
    expected = tk.rehearse(tk.demo.image_vae(), SHAPE, tk.ShardPlan(h=2))
    assert repr(expected) in said
    assert expected.messages.to_string(index=False) in said
    assert "busy s" not in said


def test_with_a_profile_and_links_there_are_times(tmp_path, capsys):
    profile = tk.Profile.assume(operations=1e9, bandwidth=1e9)
    words = ["--profile", str(profile.save(tmp_path / "p.json")), "--per-host", "1"]
    links = ["--within", "1GB/s", "--between", "0.001GB/s,100us"]
    assert rehearse("--shards", "2x1", *words, *links, "--trace", str(tmp_path)) == 0
    among = tk.Topology(2, 1, tk.Link(1e9), tk.Link(1e6, 1e-4))
    expected = tk.rehearse(tk.demo.image_vae(), SHAPE, tk.ShardPlan(h=2), profile=profile, topology=among)
    said = capsys.readouterr().out
    assert repr(expected) in said
    assert "busy s" in said
    assert (tmp_path / "trace.parquet").is_file()


def test_the_choice_of_a_plan_knows_the_links(tmp_path, capsys):
    profile = tk.Profile.assume(operations=1e10, bandwidth=1e10).save(tmp_path / "p.json")
    words = ["--ranks", "2", "--profile", str(profile), "--within", "100GB/s"]
    assert rehearse(*words, "--exact") == 0
    assert "Choice(ShardPlan(" in capsys.readouterr().out
    assert rehearse(*words, "--exact", "--per-host", "1", "--between", "0.00001GB/s") == 0
    assert "Choice(None)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shards", "2x1", "--per-host", "2"], "give the link within a host, too"),
        (["--shards", "9x9"], "9"),
        (["--profile", "nowhere.json"], "nowhere.json"),
    ],
)
def test_refusals(words, said, capsys):
    assert rehearse(*words) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--within", "5"], ["--dry-run"]])
def test_options_that_it_does_not_take(words, capsys):
    with pytest.raises(SystemExit):
        rehearse("--shards", "2x1", *words)
    assert "error" in capsys.readouterr().err
