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
)


def loaded_by(statement: str) -> set[str]:
    """Which heavy packages a statement loads in a new process."""
    program = f"import sys\n{statement}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import toolkit", set()),
        ("import toolkit as tk; tk.TileGrid.cover({'h': 60, 'w': 104}, tile=32, overlap=8)", set()),
        ("import toolkit as tk; tk.ShardPlan(h=2), tk.Schedule.looped(2, 2, 2), tk.PlanError", set()),
        ("import toolkit.cluster.engines.local.worker", {"torch"}),
        ("import toolkit.cluster.decode_on_rank", {"torch"}),
        ("import toolkit.distributed.decoding", {"torch"}),
    ],
)
def test_what_an_import_loads(statement, allowed):
    assert loaded_by(statement) <= allowed


def test_a_cluster_needs_no_diffusers():
    found = loaded_by("import toolkit as tk; tk.Cluster")
    assert not found & {"plotly", "matplotlib", "ipywidgets", "skimage", "diffusers", "transformers"}


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
    with pytest.raises(AttributeError, match="no attribute 'clusters'"):
        _ = tk.clusters
