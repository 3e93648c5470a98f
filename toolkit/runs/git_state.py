"""The state of the current folder in git, asked for without running what the folder configures."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

STATUS = ("status", "--porcelain=v2", "--branch", "--ignore-submodules=all")
"""Submodules have configurations of their own, which nothing here would switch off."""

LIMIT = 5.0
"""Seconds that git may take."""


def git_state() -> Mapping[str, Any]:
    """The commit, and whether the tree is dirty; empty outside a repository, and where git says nothing in time.

    A folder's ``.git/config`` may name commands that ``git status`` runs: a monitor of files, and filters through which
    it reads them. A folder that somebody has sent must not run code because somebody computes in it, so both are
    switched off. A file that a filter of this repository would change counts as changed then.
    """
    try:
        lines = _ask("-c", "core.fsmonitor=false", *_without_filters(), *STATUS)
    except (OSError, subprocess.SubprocessError):
        return {}
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), "")
    return {"commit": commit, "dirty": any(not line.startswith("#") for line in lines)}


def _without_filters() -> list[str]:
    """The options that switch off the filters of this repository. Those of the user's own configuration stay."""
    try:
        names = _ask("config", "--local", "--includes", "--name-only", "--get-regexp", r"^filter\.")
    except subprocess.CalledProcessError:
        # There are none.
        return []
    drivers = dict.fromkeys(name.rpartition(".")[0] for name in names)
    settings = [f"{driver}.{key}" for driver in drivers for key in ("clean=", "process=", "required=false")]
    return [word for setting in settings for word in ("-c", setting)]


def _ask(*words: str) -> Sequence[str]:
    """The lines that git answers."""
    asked = ["git", *words]
    return subprocess.run(asked, capture_output=True, text=True, timeout=LIMIT, check=True).stdout.splitlines()
