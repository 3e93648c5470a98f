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


def test_its_program_decodes_and_finds_the_machine_fit(environment, tmp_path):
    """The doctor decodes with the demo model, in shards and whole."""
    said = subprocess.run(
        [environment / "python", "-c", "import toolkit; print(toolkit.__version__, toolkit.__file__)"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    version, file = said.stdout.split()
    assert version == __version__
    assert Path(file).is_relative_to(environment.parent)
    done = subprocess.run(
        [environment / "toolkit", "doctor"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{DISTRIBUTION} " in done.stdout
    assert "shards against whole" in done.stdout
