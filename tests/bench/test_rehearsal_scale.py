"""The benchmark of rehearsals on many ranks."""

from __future__ import annotations

import json

import pytest

from toolkit.bench import rehearsal_scale as scale
from toolkit.cli import main


@pytest.mark.slow
def test_a_case_is_rehearsed_in_a_process_of_its_own(tmp_path, capsys, monkeypatch):
    """Uses one tiny case in a process, and one of each other mode in this one: processes take long to start."""
    assert len({case.name for case in scale.scale_cases()}) == len(scale.scale_cases())
    here = [scale.shards(2, (1, 16, 1, 8, 8)), scale.stages(2, 1, layers=2)]
    monkeypatch.setattr(scale, "scale_cases", lambda: [scale.tiles(2, 2)])
    path = tmp_path / "scale.json"
    assert main(["bench", "rehearsal-scale", "--turns", "1", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"] + [case.measure("cpu") for case in here]
    assert [(row["case"], row["ranks"]) for row in rows] == [("tiles on 2", 2), ("shards 2x2", 4), ("stages 2x1", 2)]
    for row in rows:
        assert row["messages"] > 0
        assert row["seconds of the rehearsal"] > 0 <= row["memory grown, MB"]
    assert "tiles on 2" in capsys.readouterr().out
