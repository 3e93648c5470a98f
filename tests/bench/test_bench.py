"""Benchmarks: what they compute from times; and that the command runs."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from toolkit.bench.paired import ratios, take_turns
from toolkit.cli import main


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


def test_the_command_measures_and_writes(tmp_path, capsys):
    path = tmp_path / "tiles.json"
    assert main(["bench", "tiles", "--turns", "1", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert set(result["times faster"]) == set(result["seconds"]) - {"2 ranks, 1 thread each"}
    assert all(row["times faster"] > 0 for row in result["times faster"].values())
    assert "Planning 2000 tiles" in capsys.readouterr().out


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
