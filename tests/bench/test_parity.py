"""Parity of a few classes."""

from __future__ import annotations

import json

import pandas as pd

from toolkit.cli import main


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
