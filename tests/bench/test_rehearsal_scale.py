"""The benchmark of rehearsals on many ranks."""

from __future__ import annotations

import json

from toolkit.bench import rehearsal_scale as scale
from toolkit.cli import main


def test_each_mode_is_rehearsed_in_a_process_of_its_own(tmp_path, capsys, monkeypatch):
    """Uses one tiny case of each mode: the full benchmark takes minutes and tests nothing more."""
    assert len({case.name for case in scale.scale_cases()}) == len(scale.scale_cases())
    tiny = [scale.shards(2, (1, 16, 1, 8, 8)), scale.tiles(2, 2), scale.stages(2, 1, layers=2)]
    monkeypatch.setattr(scale, "scale_cases", lambda: tiny)
    path = tmp_path / "scale.json"
    assert main(["bench", "rehearsal-scale", "--turns", "1", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert [(row["case"], row["ranks"]) for row in rows] == [("shards 2x2", 4), ("tiles on 2", 2), ("stages 2x1", 2)]
    for row in rows:
        assert row["messages"] > 0
        assert row["seconds of the rehearsal"] > 0 <= row["memory grown, MB"]
    assert "stages 2x1" in capsys.readouterr().out
