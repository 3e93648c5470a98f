"""The benchmark of tiles."""

from __future__ import annotations

import json

import torch

from toolkit.bench import tile_speed as tiles
from toolkit.cli import main


def test_the_command_measures_and_writes(tmp_path, capsys, monkeypatch):
    """Uses one small frame: the full benchmark takes a minute and tests nothing more."""
    frame = torch.randn(1, 16, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(tiles.demo, "latents", lambda name: frame)
    path = tmp_path / "tiles.json"
    assert main(["bench", "tiles", "--turns", "1", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert set(result["times faster"]) == set(result["seconds"]) - {"2 ranks, 1 thread each"}
    assert all(row["times faster"] > 0 for row in result["times faster"].values())
    assert "Planning 2000 tiles" in capsys.readouterr().out
