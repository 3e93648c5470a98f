"""SPMD functions over a process group: the same call from a notebook's workers, from torchrun, from any launcher.

The only package that imports ``torch.distributed``.
"""

from toolkit.distributed.tiles import decode

__all__ = ["decode"]
