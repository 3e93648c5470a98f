"""Options that cannot be right are refused as they are read: exit status 2, plain words, no traceback."""

from __future__ import annotations

import os
import stat

import pytest
import torch

from toolkit.cli import main
from toolkit.errors import ToolkitError
from toolkit.runs.sample_file import write_sample

DECODE = ["decode", "--vae", "demo-video", "--latent", "demo"]
ENCODE = ["encode", "--vae", "demo-image", "--sample", "demo"]
GENERATE = ["generate", "--pipeline", "demo"]
REHEARSE = ["rehearse", "--vae", "demo-image", "--shape", "1x16x16x20"]
REFUSED = [
    ([*DECODE, "--ranks", "0"], "--ranks: '0': must be a whole number of at least 1"),
    ([*ENCODE, "--ranks", "-1"], "at least 1"),
    ([*DECODE, "--ranks", "two"], "'two': must be a whole number"),
    ([*GENERATE, "--ranks", "0"], "at least 1"),
    ([*GENERATE, "--schedule", "looped", "--chunks", "0"], "--chunks: '0'"),
    ([*GENERATE, "--stages", "0"], "--stages: '0'"),
    ([*GENERATE, "--steps", "0"], "--steps: '0'"),
    ([*GENERATE, "--guidance", "nan"], "--guidance: 'nan': must be a finite number"),
    ([*GENERATE, "--call", "[1]"], "give a JSON object"),
    ([*GENERATE, "--call", "{"], "not valid JSON"),
    ([*DECODE, "--tile", "h=4,h=5"], "names the axis h twice"),
    ([*DECODE, "--tile", "0"], "at least 1"),
    ([*DECODE, "--tile", "h=4,"], "one per axis, h=12,w=16"),
    ([*DECODE, "--tile", "8", "--overlap", "-1"], "at least 0"),
    ([*DECODE, "--shards", "2x0"], "at least 1"),
    ([*DECODE, "--shards", "2"], "such as 2x1"),
    ([*DECODE, "--memory", "inf"], "finite number above 0"),
    ([*DECODE, "--fps", "nan", "--out", "x.mp4"], "--fps: 'nan': must be a finite number above 0"),
    ([*GENERATE, "--fps", "0"], "--fps: '0'"),
    ([*DECODE, "--out", "folder.png"], "--out: 'folder.png': is a folder"),
    ([*DECODE, "--out", "x.tiff"], "must end in one of .safetensors, .png, .mp4"),
    ([*GENERATE, "--out", "no/such/x.mp4"], "the folder 'no/such' does not exist; create it first"),
    ([*DECODE, "--trace", "file"], "--trace: 'file': is a file, but must be a folder"),
    ([*REHEARSE, "--trace", "no/such/folder"], "the folder 'no/such' does not exist"),
    ([*REHEARSE, "--ranks", "0"], "at least 1"),
    ([*REHEARSE, "--within", "nanGB/s"], "finite number above 0"),
    (["report", "--ranks", "1", "0"], "at least 1"),
    (["report", "--html", "no/such/report.html"], "does not exist"),
    (["report", "--markdown", "folder.png"], "is a folder"),
    (["bench", "tiles", "--json", "no/such.json"], "does not exist"),
    (["bench", "tiles", "--turns", "0"], "at least 1"),
    (["parity", "--json", "folder.png"], "is a folder"),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=[" ".join(words[-2:]) for words, _ in REFUSED])
def test_refused_while_the_options_are_read(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert said in shown
    assert "Traceback" not in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_outputs_follow_the_umask_and_a_full_disk_is_told(tmp_path):
    before = os.umask(0o022)
    try:
        for name in ("x.safetensors", "x.png"):
            write_sample(torch.zeros(1, 3, 4, 4), tmp_path / name, fps=16)
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o644
    finally:
        os.umask(before)
    (tmp_path / "full.png").symlink_to("/dev/full")
    with pytest.raises(ToolkitError, match=r"full.png' could not be written \(No space left on device\)"):
        write_sample(torch.zeros(1, 3, 4, 4), tmp_path / "full.png", fps=16)
