"""What many records share and nobody should pay for twice: versions, machine, git, hashes of inputs."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from toolkit.about import __version__
from toolkit.numerics.checksum import bytes_of, checksum
from toolkit.runs.git_state import git_state

PACKAGES = ("torch", "diffusers", "einops", "numpy", "pandas")


def tensor_hash(tensor: Tensor) -> str:
    """The SHA-256 of a tensor's bytes in row-major order.

    Example:
        >>> tensor_hash(torch.zeros(2))[:8]
        'af5570f5'
    """
    return hashlib.sha256(bytes_of(tensor)).hexdigest()


@dataclass
class Surroundings:
    """Where runs happen. A cluster has one for all of its runs; each fact is looked up when it is first needed.

    The state of git is that of the folder at the first run: code that has been imported does not change afterwards.
    """

    _hashes: Any = field(default_factory=WeakIdKeyDictionary)

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """Versions of Python and of the packages that decide results."""
        packages = {name: _version(name) for name in PACKAGES}
        return {"python": platform.python_version(), "toolkit": __version__, **packages}

    @cached_property
    def machine(self) -> Mapping[str, Any]:
        """Processor, cores, memory, accelerator; no names of hosts or users."""
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "accelerator": str(accelerator) if accelerator else None,
        }

    @cached_property
    def git(self) -> Mapping[str, Any]:
        """The commit of the current folder, and whether its tree was dirty; empty outside a repository."""
        return git_state()

    def hash_of(self, tensor: Tensor) -> str:
        """As :func:`tensor_hash`, computed again only where the tensor's numbers have changed."""
        state = checksum(tensor)
        known = self._hashes.get(tensor)
        if known is None or known[0] != state:
            known = state, tensor_hash(tensor)
            self._hashes[tensor] = known
        found: str = known[1]
        return found


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
