"""The benchmark of rehearsals."""

from __future__ import annotations

import json

import pytest

import toolkit as tk
from toolkit.bench import rehearsal_accuracy as rehearsals
from toolkit.bench.rehearsed_pipelines import _paced
from toolkit.cli import main
from toolkit.geometry import ShardPlan
from toolkit.planning.rehearsing.profile import Crowd, OperatorCost, Profile
from toolkit.planning.rehearsing.script import operators_of


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


def test_ranks_with_paced_blocks_have_a_device_each():
    """Their blocks sleep, so they do not slow each other down, however few processors they share."""
    pipe = tk.demo.pipeline()
    call = tk.demo.call(height=16, width=16, num_frames=1, num_inference_steps=1, output_type="latent")
    scripts = tk.rehearse(pipe, device="cpu", **call).scripts
    known = Profile("cpu", dict.fromkeys(operators_of(scripts), OperatorCost(1e-6, 0)), crowds={4: Crowd(1.9, 1e-4)})
    whole = tk.rehearse(pipe, profile=known, **call)
    assert whole.with_profile(_paced(known, whole, 0.05)).profile.crowds == {4: Crowd(1.0, 1e-4)}
