"""Starting the command line in a folder that somebody else has filled."""

from __future__ import annotations

import subprocess
import sys


def test_a_file_in_the_folder_does_not_take_a_librarys_place(tmp_path) -> None:
    for name in ("pandas", "torch", "diffusers", "tqdm"):
        (tmp_path / f"{name}.py").write_text("open('sprung', 'w')\nraise SystemExit(3)\n")
    command = [sys.executable, "-m", "toolkit", "bench", "tiles", "--full"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert not (tmp_path / "sprung").exists()
    assert "--full does not apply to bench tiles" in done.stderr
    assert done.returncode == 1
