"""File descriptors: whether this process may open as many as a group's connections need."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

from toolkit.errors import RunError

RESERVE = 24
"""Descriptors beside the connections: gloo's own, the store's, and those of the files that a call opens."""

OPEN = Path("/proc/self/fd")


def require_descriptors(size: int) -> None:
    """Refuse to connect a group for whose connections this process may not open enough file descriptors.

    gloo connects every rank with every other one, and says no more than "Socket" if it may not open another one.

    Args:
        size: Number of ranks in the group.

    Raises:
        RunError: If too few are left.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return
    used, needed = _in_use(), size - 1 + RESERVE
    if used + needed > most:
        raise RunError(
            f"connecting {size} ranks takes about {needed} more file descriptors, but {used} of the {most} that this "
            f"process may open are in use: raise the limit before you start, as in `ulimit -n {_room(used + needed)}`."
        )


def remedy_of(error: BaseException) -> str:
    """What to do about an error of opening one file descriptor too many; empty for other errors.

    Example:
        >>> remedy_of(OSError(errno.EMFILE, "Too many open files"))
        '. Raise the limit before you start, as in `ulimit -n 4096`'
    """
    scarce = isinstance(error, OSError) and error.errno == errno.EMFILE
    return ". Raise the limit before you start, as in `ulimit -n 4096`" if scarce else ""


def _in_use() -> int:
    try:
        return len(os.listdir(OPEN))
    except OSError as error:
        # Reading the list takes a descriptor itself.
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0] if error.errno == errno.EMFILE else 0


def _room(needed: int) -> int:
    """A round number, with room for the further groups of a pipeline.

    Example:
        >>> _room(300)
        4096
    """
    return max(1 << (8 * needed - 1).bit_length(), 1024)
