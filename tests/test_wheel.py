"""The wheel, installed in an environment in which nothing else knows of this folder."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

from toolkit.about import DISTRIBUTION, __version__

ROOT = Path(__file__).parents[1]
DECODE = """
import toolkit as tk
vae, latent = tk.demo.image_vae(), tk.demo.latents("image")[..., :16, :16]
grid = tk.TileGrid.cover(latent, tile=12, overlap=4)
plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 1))
print(tk.__version__, tk.__file__, tuple(tk.distributed.decode(vae, latent, plan).shape) == (1, 3, 128, 128))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    # Built from a copy, because a build leaves folders behind.
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT / "toolkit", source / "toolkit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "-w", built, source], check=True, timeout=120)
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """Its programs. Only the toolkit is the wheel's; what it requires is that of the tests' own environment."""
    where = tmp_path_factory.mktemp("environment")
    venv.create(where, with_pip=False, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", where / "bin" / "python"]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", wheel], check=True, timeout=120)
    packages = next(where.glob("lib/python*/site-packages"))
    # Only the path: an editable install is found by a .pth file, and those are not read in a folder that one names.
    (packages / "requirements.pth").write_text("\n".join(site.getsitepackages()))
    return where / "bin"


def test_it_holds_the_package_and_no_training_programs(wheel):
    names = ZipFile(wheel).namelist()
    assert wheel.name.startswith(f"{DISTRIBUTION}-{__version__}-py3-none-any")
    assert "toolkit/py.typed" in names
    assert sum(name.endswith(".safetensors") for name in names) >= 3
    assert not [name for name in names if "training" in name]
    assert {name.split("/")[0] for name in names} == {"toolkit", f"{DISTRIBUTION}-{__version__}.dist-info"}
    assert wheel.stat().st_size < 15e6


def test_it_decodes(environment, tmp_path):
    """In its own process: one rank, because the next test starts two."""
    (tmp_path / "program.py").write_text(DECODE)
    done = subprocess.run(
        [environment / "python", "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    version, file, right = done.stdout.split()
    assert (version, right) == (__version__, "True")
    assert Path(file).is_relative_to(environment.parent)


def test_its_program_finds_the_machine_fit(environment, tmp_path):
    done = subprocess.run(
        [environment / "toolkit", "doctor"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{DISTRIBUTION} " in done.stdout
    assert "shards against whole" in done.stdout
