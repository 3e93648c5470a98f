"""The precision that comparisons on a device are held to."""

from __future__ import annotations

import torch

from toolkit.runs.precision import Precision


def test_tf32_is_named_where_it_is_on(monkeypatch):
    """Doctor called TF32, which cuDNN uses by default, wrong."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert Precision.of(torch.float32, "cuda") == Precision("TF32", 5e-3)
    assert Precision.of(torch.float32, "cpu") == Precision("float32", 1e-4)
    assert Precision.of(torch.float64, "cuda") == Precision("float64", 1e-5)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert Precision.of(torch.float32, "cuda") == Precision("float32", 1e-4)
    products, before = torch.backends.cuda.matmul, torch.backends.cuda.matmul.allow_tf32
    products.allow_tf32 = True  # not an attribute that monkeypatch could put back
    try:
        assert Precision.of(torch.float32, "cuda").name == "TF32"
    finally:
        products.allow_tf32 = before
