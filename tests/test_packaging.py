"""The repository keeps its promises to who installs and reads it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import toolkit
from toolkit.about import DISTRIBUTION, __version__

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "toolkit").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_environment_and_pyproject_agree():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in environment if isinstance(entry, dict))
    extras = PROJECT["optional-dependencies"]
    known = PROJECT["dependencies"] + extras["notebook"] + extras["test"]
    assert set(PROJECT["dependencies"] + extras["notebook"]) <= set(pip)
    assert set(pip) - {"-e ."} <= set(known)
    assert f"python{PROJECT['requires-python']}" in environment


def test_constraints_pin_every_direct_dependency():
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert pinned["torch"] == "2.13.0"
    for requirement in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["notebook"]:
        assert re.match(r"[\w-]+", requirement)[0] in pinned


def test_the_lowest_constraints_are_those_of_pyproject():
    extras = PROJECT["optional-dependencies"]
    given = PROJECT["dependencies"] + extras["notebook"] + extras["optuna"] + extras["train"]
    lowest = dict(re.match(r"([\w-]+)>=([\w.]+)", requirement).groups() for requirement in given)
    lines = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    assert dict(line.split("==") for line in lines if "==" in line) == lowest


def test_every_file_says_the_same_name_and_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == toolkit.__version__ == __version__
    assert PROJECT["name"] == DISTRIBUTION
    assert citation["repository-code"] == PROJECT["urls"]["Source"]


def test_hints_name_extras_that_there_are():
    named = {name for path in SOURCES for name in re.findall(r"""how_to_install\(['"](\w+)""", path.read_text())}
    assert "widgets" in named
    assert named <= set(PROJECT["optional-dependencies"])
    assert not [path for path in SOURCES if "toolkit[" in path.read_text()]


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_forms_and_workflows_can_be_read(path):
    found = yaml.safe_load(path.read_text())
    steps = [step for job in found.get("jobs", {}).values() for step in job["steps"]]
    commands = [line for step in steps for line in step.get("run", "").splitlines()]
    wanted = {line.split()[1].replace(".venv", "$(VENV)") for line in commands if line.startswith("make ")}
    assert wanted <= set(re.findall(r"^(\S+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_ci_tries_every_python_that_is_promised():
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    promised = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in PROJECT["classifiers"]]
    assert matrix["python"] == [found[1] for found in promised if found]


def test_no_two_modules_share_a_name():
    names = [path.name for path in SOURCES if not path.name.startswith("__")]
    assert not {name for name in names if names.count(name) > 1}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_import_at_the_top(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    tree = ast.parse(text)
    inner = [node for scope in ast.walk(tree) if isinstance(scope, ast.FunctionDef) for node in ast.walk(scope)]
    assert not [node.lineno for node in inner if isinstance(node, ast.Import | ast.ImportFrom)]


def test_only_distributed_imports_torch_distributed():
    for path in SOURCES:
        if "distributed" not in path.relative_to(ROOT / "toolkit").parts[0]:
            assert not re.search(r"torch\.distributed|import distributed as dist", _code(path)), path


def test_only_one_file_names_a_kind_of_accelerator():
    for path in SOURCES:
        assert not re.search(r"torch\.cuda|torch\.mps|torch\.xpu", _code(path)), path


def test_a_plan_runs_without_plotly_ipywidgets_and_ipython():
    program = """
import sys
import importlib.util
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = name.split(".")[0] in ("plotly", "ipywidgets", "anywidget", "IPython", "matplotlib")
        return None if absent else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
import torch, toolkit as tk
from support import tiny
if __name__ == "__main__":
    vae, latent = tiny.kl(), tiny.latent("kl", 9, 9)
    grid = tk.diffusers_grid(vae, latent.shape)
    plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 1))
    output = tk.distributed.decode(vae, latent, plan)
    print(plan._repr_html_()[:1], tk.compare(output, output).identical)
    for missing in ("plot", "widgets"):
        try:
            getattr(tk, missing)
        except ModuleNotFoundError as error:
            print(error.name, error)
"""
    script = Path(__file__).parent / "without.py"
    script.write_text(program)
    try:
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=400)
    finally:
        script.unlink()
    assert done.returncode == 0, done.stderr
    ran, plots, widgets = done.stdout.splitlines()[-3:]
    assert ran == "< True"
    assert plots.startswith("plotly ")
    assert widgets == "ipywidgets tk.widgets needs ipywidgets: pip install 'difftiles[widgets]'"


def _code(path: Path) -> str:
    """A file's statements, without comments and docstrings."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value.value = ""
    return ast.unparse(tree)
