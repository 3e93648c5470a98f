"""Records: what somebody else needs to know to believe, or to repeat, a run."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

PACKAGES = ("toolkit", "torch", "diffusers", "einops", "numpy", "pandas")


@dataclass(frozen=True, slots=True)
class Record:
    """Where a run's numbers come from.

    Attributes:
        when: start, UTC, ISO 8601.
        what: the call: function, ranks, device, backend, threads a rank, the workers' kernel choices.
        model: class, number of parameters, dtype, hash of the configuration.
        plan: the plan's one-line form.
        input: shape, dtype and SHA-256 of the latent's bytes; of a pipeline's call, its arguments.
        seed: torch's initial seed in the kernel.
        versions: Python and packages.
        machine: processor, cores, memory, accelerator. No names of hosts or users.
        git: commit and whether the tree was dirty, of the current folder; empty outside a repository.
    """

    when: str
    what: Mapping[str, Any]
    model: Mapping[str, Any]
    plan: str
    input: Mapping[str, Any]
    seed: int
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    git: Mapping[str, Any]

    @classmethod
    def make(cls, vae: Any, latent: Tensor | Mapping[str, Any], plan: object, what: Mapping[str, Any]) -> Record:
        """Take down the present state."""
        return cls(
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            what=dict(what),
            model=_model(vae),
            plan=repr(plan),
            input=_facts(latent)
            if isinstance(latent, Tensor)
            else {name: _said(value) for name, value in latent.items()},
            seed=torch.initial_seed(),
            versions={"python": platform.python_version(), **_versions()},
            machine=_machine(),
            git=_git(),
        )

    def to_json(self) -> str:
        """The record as indented JSON."""
        return json.dumps(asdict(self), indent=2, default=str)

    def diff(self, other: Record) -> dict[str, tuple[Any, Any]]:
        """The entries in which two records differ, as ``{"versions.torch": (mine, theirs)}``."""
        mine, theirs = _flat(asdict(self)), _flat(asdict(other))
        keys = sorted(mine.keys() | theirs.keys())
        return {key: (mine.get(key), theirs.get(key)) for key in keys if mine.get(key) != theirs.get(key)}


def tensor_hash(tensor: Tensor) -> str:
    """SHA-256 of a tensor's bytes in row-major order.

    Example:
        >>> tensor_hash(torch.zeros(2))[:8]
        'af5570f5'
    """
    flat = tensor.detach().to("cpu").contiguous().view(-1).view(torch.uint8)
    return hashlib.sha256(flat.numpy().tobytes()).hexdigest()


def _facts(tensor: Tensor) -> dict[str, Any]:
    return {"shape": list(tensor.shape), "dtype": str(tensor.dtype), "sha256": tensor_hash(tensor)}


def _said(value: Any) -> Any:
    """An argument in a form that JSON has."""
    if isinstance(value, Tensor):
        return _facts(value)
    if isinstance(value, torch.Generator):
        return f"generator, seed {value.initial_seed()}"
    plain = isinstance(value, str | int | float | bool | type(None))
    return value if plain else f"{type(value).__name__}: {value!r}"[:200]


def _model(vae: Any) -> dict[str, Any]:
    # A module that is no diffusers class may keep its configuration in any object, or none.
    stated = getattr(vae, "config", None)
    config = json.dumps(dict(stated) if isinstance(stated, Mapping) else repr(stated), sort_keys=True, default=str)
    weights = list(vae.parameters())
    return {
        "class": type(vae).__name__,
        "parameters": sum(weight.numel() for weight in weights),
        "dtype": str(weights[0].dtype),
        "config_sha256": hashlib.sha256(config.encode()).hexdigest(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _machine() -> dict[str, Any]:
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "accelerator": str(accelerator) if accelerator else None,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _git() -> dict[str, Any]:
    def ask(*words: str) -> str:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=5, check=True)
        return done.stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}.{key}".lstrip(".")).items()}
