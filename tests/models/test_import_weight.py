"""What computes with a model must not load diffusers, transformers or what figures and tables need."""

import subprocess
import sys
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[2] / "toolkit" / "models"
# The demo's purpose is to make models of diffusers and transformers; its package itself loads them when they are used.
LIGHT = sorted(
    ".".join(path.relative_to(MODELS.parents[1]).with_suffix("").parts)
    for path in MODELS.rglob("*.py")
    if path.name != "__init__.py" and "demo" not in path.parts
)
HEAVY = ("diffusers", "transformers", "accelerate", "pandas", "scipy", "skimage", "plotly", "matplotlib", "ipywidgets")


def loaded(program: str) -> set[str]:
    program = f"import sys\n{program}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_every_module_but_the_demo_loads_without_diffusers():
    assert len(LIGHT) > 40
    assert not loaded("\n".join(f"import {name}" for name in LIGHT)) & set(HEAVY)


@pytest.mark.parametrize("name", ["toolkit", "toolkit.models", "toolkit.models.demo"])
def test_packages_load_their_names_when_they_are_used(name):
    assert not loaded(f"import {name}") & set(HEAVY)
