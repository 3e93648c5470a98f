"""What an import loads: names when they are used, and for a worker nothing that only the kernel needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import toolkit as tk
from toolkit.lazy import lazy

HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "pandas",
    "scipy",
    "sympy",
    "skimage",
    "plotly",
    "matplotlib",
    "ipywidgets",
    "anywidget",
)


# Each statement in a process of its own; where torch may be loaded, a fork of one that has: that import takes seconds.
PROGRAM = """
import os, sys
allowed, *statements = sys.argv[1:]
if allowed:
    import torch
for statement in statements:
    if os.fork() == 0:
        exec(statement)
        print(*[name for name in {heavy!r} if name in sys.modules], flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, statement
"""
LIGHT = (
    "import toolkit",
    "import toolkit as tk; tk.TileGrid.cover({'h': 60, 'w': 104}, tile=32, overlap=8)",
    "import toolkit as tk; tk.ShardPlan(h=2), tk.Schedule.looped(2, 2, 2), tk.PlanError",
)
WITH_TORCH = (
    "import toolkit.cluster.engines.local.worker",
    "import toolkit.cluster.decode_on_rank",
    "import toolkit.distributed.decoding",
    "import toolkit as tk; tk.Cluster",
)


def loaded_by(statements: tuple[str, ...], allowed: str = "") -> list[set[str]]:
    """Which heavy packages each statement loads in a new process, in which ``allowed`` may be loaded already."""
    program = PROGRAM.format(heavy=HEAVY)
    command = [sys.executable, "-c", program, allowed, *statements]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = [set(line.split()) for line in done.stdout.splitlines()]
    assert len(found) == len(statements)
    return found


def test_what_an_import_loads():
    assert loaded_by(LIGHT) == [set()] * len(LIGHT)


def test_what_an_import_loads_beside_torch():
    *workers, cluster = loaded_by(WITH_TORCH, allowed="torch")
    assert workers == [{"torch"}] * len(workers)
    # A cluster needs no diffusers.
    assert not cluster & {"plotly", "matplotlib", "ipywidgets", "skimage", "diffusers", "transformers"}


def test_every_public_name_is_there():
    for name in tk.__all__:
        assert getattr(tk, name) is not None
    assert set(tk.__all__) <= set(dir(tk))


def test_subpackages_are_reached_without_an_import_of_their_own():
    program = "import toolkit as tk\nprint(tk.geometry.Span(0, 4), tk.distributed.decode.__name__, tk.errors.PlanError)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith("0:4 decode ")


def test_a_name_that_does_not_exist():
    load, listed = lazy("toolkit.geometry", {"Span": "toolkit.geometry.span"})
    assert listed() == ["Span"]
    with pytest.raises(AttributeError, match=r"module 'toolkit.geometry' has no attribute 'Spam'"):
        load("Spam")
    for name, said in {
        "nothing": r"no attribute 'nothing'$",
        "plots": r"no attribute 'plots': did you mean plot\?$",
        "decode": r"^tk.decode does not exist: call tk.Cluster\(ranks=2\).decode",
    }.items():
        with pytest.raises(AttributeError, match=said):
            getattr(tk, name)
        assert not hasattr(tk, name)


@pytest.mark.parametrize("package", [tk.plot, tk.widgets], ids=["plot", "widgets"])
def test_completion_offers_what_is_public(package):
    assert dir(package) == sorted(package.__all__)
