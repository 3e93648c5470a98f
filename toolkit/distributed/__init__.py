"""SPMD functions over a process group: the same call from a notebook's workers, from torchrun, from any launcher.

The only package that imports ``torch.distributed``.
"""

from toolkit.distributed.decoding import decode, encode
from toolkit.distributed.generating import generate
from toolkit.distributed.load_stages import load
from toolkit.distributed.stages.staged import stage

__all__ = ["decode", "encode", "generate", "load", "stage"]
