"""Records: what somebody else needs to know to trust a run, or to repeat it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from toolkit.geometry.checks import check_choice
from toolkit.runs.public_entries import public_call, public_entries, public_text
from toolkit.runs.surroundings import Surroundings

Extent = Literal["public", "full"]
"""How much of a record a file or a page shows."""


@dataclass(frozen=True, slots=True)
class Record:
    """Where a run's numbers come from, prompts and folders included. What is published should be :meth:`public`.

    Attributes:
        when: Start of the run, UTC, ISO 8601.
        what: The call: function, ranks, device, backend, threads per rank, the workers' kernel choices.
        model: Class, number of parameters, dtype, hash of the configuration.
        plan: The plan in one line.
        input: Shape, dtype and SHA-256 of the input's bytes; for a pipeline's call, its arguments and its folder.
        seed: The initial seed of torch in the kernel.
        versions: Versions of Python and packages.
        machine: Processor, cores, memory, accelerator. No names of hosts or users.
        git: The commit of the folder of the first run, and whether its tree was dirty; empty outside a repository.
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
    def make(
        cls,
        vae: Any,
        latent: Tensor | Mapping[str, Any],
        *,
        plan: object,
        what: Mapping[str, Any],
        where: Surroundings | None = None,
    ) -> Record:
        """Make the record of a run that begins now.

        Args:
            vae: The model.
            latent: The input of its call; for a pipeline, the arguments of its call.
            plan: The plan.
            what: The call and the cluster's settings.
            where: What is known of this process already; None: look everything up.
        """
        where = where or Surroundings()
        return cls(
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            what=dict(what),
            model=_model(vae),
            plan=repr(plan),
            input=_facts(latent, where)
            if isinstance(latent, Tensor)
            else {name: _said(value, where) for name, value in latent.items()},
            seed=torch.initial_seed(),
            versions=where.versions,
            machine=where.machine,
            git=where.git,
        )

    def public(self) -> Record:
        """This record without what is nobody else's business; reports, pages and exported traces show it.

        Of a pipeline's call, all words are left out: prompts, and whatever else was given as text. Entries that are
        named after tokens, passwords, hosts, users or environments are left out, and texts that look like credentials.
        Of each path, only the last part stays: ``/home/me/models/wan`` becomes ``wan``. Numbers, shapes, hashes,
        versions, the machine and the commit stay. What you name yourself (runs, titles, notes) is not looked at.

        Example:
            >>> from torch import nn
            >>> call = {"pipeline": "/home/me/wan", "prompt": "a cat", "num_frames": 81}
            >>> Record.make(nn.Linear(1, 1), call, plan=None, what={"token": "hf_secret"}).public().input
            {'pipeline': 'wan', 'prompt': 'left out', 'num_frames': 81}
        """
        return replace(
            self,
            what=public_entries(self.what),
            model=public_entries(self.model),
            plan=public_text(self.plan),
            input=public_call(self.input),
            versions=public_entries(self.versions),
            machine=public_entries(self.machine),
            git=public_entries(self.git),
        )

    def extent(self, extent: Extent) -> Record:
        """This record, or its public part.

        Raises:
            PlanError: For anything but ``"public"`` and ``"full"``.
        """
        check_choice("record", extent, choices=get_args(Extent))
        return self if extent == "full" else self.public()

    def to_json(self) -> str:
        """The record as indented JSON."""
        return json.dumps(asdict(self), indent=2, default=str)

    def diff(self, other: Record) -> dict[str, tuple[Any, Any]]:
        """The entries in which two records differ, as ``{"versions.torch": (mine, theirs)}``."""
        mine, theirs = _flat(asdict(self)), _flat(asdict(other))
        keys = sorted(mine.keys() | theirs.keys())
        return {key: (mine.get(key), theirs.get(key)) for key in keys if mine.get(key) != theirs.get(key)}


def _facts(tensor: Tensor, where: Surroundings) -> dict[str, Any]:
    facts = {"shape": list(tensor.shape), "dtype": str(tensor.dtype)}
    # A rehearsal takes tensors without values, too.
    return facts if tensor.is_meta else {**facts, "sha256": where.hash_of(tensor)}


def _said(value: Any, where: Surroundings) -> Any:
    """An argument in a form that JSON has."""
    if isinstance(value, Tensor):
        return _facts(value, where)
    if isinstance(value, torch.Generator):
        return f"generator, seed {value.initial_seed()}"
    plain = isinstance(value, str | int | float | bool | type(None))
    return value if plain else f"{type(value).__name__}: {value!r}"[:200]


def _model(vae: Any) -> dict[str, Any]:
    # A module that is not a diffusers class may keep its configuration in any object, or nowhere.
    stated = getattr(vae, "config", None)
    config = json.dumps(dict(stated) if isinstance(stated, Mapping) else repr(stated), sort_keys=True, default=str)
    weights = list(vae.parameters())
    return {
        "class": type(vae).__name__,
        "parameters": sum(weight.numel() for weight in weights),
        "dtype": str(weights[0].dtype),
        "config_sha256": hashlib.sha256(config.encode()).hexdigest(),
    }


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}.{key}".lstrip(".")).items()}
