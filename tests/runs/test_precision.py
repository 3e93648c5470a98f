"""The precision that comparisons on a device are held to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from toolkit.runs.precision import Precision, Tf32


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    before = Tf32.current()
    yield
    before.apply()


def test_tf32_is_named_where_it_is_on():
    """Doctor called TF32, which cuDNN uses by default, wrong."""
    Tf32("tf32", "ieee").apply()
    assert Precision.of(torch.float32, "cuda") == Precision("TF32", 5e-3)
    assert Precision.of(torch.float32, "cpu") == Precision("float32", 1e-4)
    assert Precision.of(torch.float64, "cuda") == Precision("float64", 1e-5)
    Tf32("ieee", "ieee").apply()
    assert Precision.of(torch.float32, "cuda") == Precision("float32", 1e-4)
    Tf32("ieee", "tf32").apply()
    assert Precision.of(torch.float32, "cuda").name == "TF32"


def test_settings_by_torchs_newer_names_do_not_raise():
    """After one of them was set, torch raises where the older ``allow_tf32`` is read."""
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    with pytest.raises(RuntimeError):
        _ = torch.backends.cuda.matmul.allow_tf32
    assert Precision.of(torch.float32, "cuda").name == "TF32"


def settings_here() -> Tf32:
    return Tf32.current()


def test_workers_follow_the_kernels_settings(cluster):
    for wanted in (Tf32("ieee", "ieee"), Tf32("tf32", "tf32"), Tf32("none", "none")):
        wanted.apply()
        assert cluster.run(settings_here) == [wanted] * cluster.ranks
