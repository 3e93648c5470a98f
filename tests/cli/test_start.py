"""Starting the command line in a folder that somebody else has filled."""

from __future__ import annotations

import subprocess
import sys

import pytest

from toolkit.cli import COMMANDS, main


def test_a_file_in_the_folder_does_not_take_a_librarys_place(tmp_path) -> None:
    for name in ("pandas", "torch", "diffusers", "tqdm"):
        (tmp_path / f"{name}.py").write_text("open('sprung', 'w')\nraise SystemExit(3)\n")
    command = [sys.executable, "-m", "toolkit", "bench", "tiles", "--full"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert not (tmp_path / "sprung").exists()
    assert "--full does not apply to bench tiles" in done.stderr
    assert done.returncode == 1


def test_help_and_version_load_no_torch() -> None:
    program = "import sys, toolkit.cli as c\ntry: c.main(sys.argv[1:])\nfinally: print('torch' in sys.modules)"
    for word in ("--help", "--version"):
        done = subprocess.run([sys.executable, "-c", program, word], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "False"


def test_every_command_explains_itself() -> None:
    for name in COMMANDS:
        with pytest.raises(SystemExit, match="0"):
            main([name, "--help"])


def test_a_word_that_is_no_command(capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["deocde"])
    assert "decode" in capsys.readouterr().err
