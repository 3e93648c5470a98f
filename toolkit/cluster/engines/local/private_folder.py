"""A folder that no other user of the machine can enter, for as long as an object lives."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path


def private_folder(owner: object) -> Path:
    """Make a folder of mode 0700. It goes with its owner, at the latest when the process that made it ends.

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
    folder = Path(tempfile.mkdtemp(prefix="toolkit-"))
    weakref.finalize(owner, _remove, folder, os.getpid())
    return folder


def _remove(folder: Path, maker: int) -> None:
    # A fork of the process that made it ends, too, and must leave it there.
    if os.getpid() == maker:
        shutil.rmtree(folder, ignore_errors=True)
