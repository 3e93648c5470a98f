"""A folder that no other user of the machine can enter, for as long as an object lives."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
import weakref
from pathlib import Path

PREFIX, LOCK = "toolkit-", "lock"
YOUNG = 60.0
"""Seconds for which a folder without an owner is left alone: its owner may be about to lock it."""


def private_folder(owner: object) -> Path:
    """Make a folder of mode 0700. It goes with its owner, at the latest when the process that made it ends.

    A process that is killed cannot remove anything. Its folders are removed when the next one is made: the operating
    system has released their locks.

    Example:
        >>> class Owner: ...
        >>> owner = Owner()
        >>> folder = private_folder(owner)
        >>> f"{folder.stat().st_mode & 0o777:o}"
        '700'
        >>> del owner
        >>> folder.exists()
        False
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    weakref.finalize(owner, _remove, folder, lock, os.getpid())
    return folder


def _remove(folder: Path, lock: int, maker: int) -> None:
    # A fork of the process that made it ends, too, and must leave it there.
    if os.getpid() == maker:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_abandoned(where: Path) -> None:
    """Remove folders of this user whose makers are dead."""
    for path in where.glob(f"{PREFIX}*/{LOCK}"):
        try:
            if path.stat().st_uid != os.getuid() or time.time() - path.stat().st_mtime < YOUNG:
                continue
            with path.open("r+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent, ignore_errors=True)
        except OSError:
            # It is locked, or somebody else has just removed it.
            continue
