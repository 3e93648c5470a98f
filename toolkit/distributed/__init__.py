"""SPMD functions over a process group, called in the same way by a notebook's workers, torchrun and any other launcher.

This is the only package that imports ``torch.distributed``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.lazy import lazy

if TYPE_CHECKING:
    from toolkit.distributed.decoding import decode, encode
    from toolkit.distributed.generating import generate
    from toolkit.distributed.load_stages import load
    from toolkit.distributed.stages.staged import stage

__all__ = ["decode", "encode", "generate", "load", "stage"]

# Loaded when first used, so a worker that only decodes does not import what pipelines need.
__getattr__, __dir__ = lazy(
    "toolkit.distributed",
    {
        "decode": "toolkit.distributed.decoding",
        "encode": "toolkit.distributed.decoding",
        "generate": "toolkit.distributed.generating",
        "load": "toolkit.distributed.load_stages",
        "stage": "toolkit.distributed.stages.staged",
    },
)
