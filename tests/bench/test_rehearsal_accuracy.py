"""The benchmark of rehearsals."""

from __future__ import annotations

import json

import pytest

from toolkit.bench import rehearsal_accuracy as rehearsals
from toolkit.cli import main
from toolkit.geometry import ShardPlan


@pytest.mark.slow
def test_the_command_predicts_and_measures(tmp_path, capsys, monkeypatch):
    """Uses one small case: the full benchmark takes minutes and tests nothing more."""
    assert len({case.name for case in rehearsals.cases()}) == len(rehearsals.cases())
    small = rehearsals.Case("small", "image", (1, 16, 8, 8), ShardPlan(h=2))
    monkeypatch.setattr(rehearsals, "cases", lambda: [small])
    monkeypatch.setattr(rehearsals, "pipeline_cases", lambda: [])
    path = tmp_path / "rehearsals.json"
    assert main(["bench", "rehearsal", "--turns", "1", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert [row["case"] for row in rows] == ["small"]
    for row in rows:
        assert row["messages equal"] is True
        assert abs(row["memory off"]) < 0.05
        assert row["seconds, predicted"] > 0
    assert "small" in capsys.readouterr().out
